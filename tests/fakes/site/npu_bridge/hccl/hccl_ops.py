"""Collective operators between ranks."""

from npu_bridge.helper import helper

gen_hccl_ops = helper.get_gen_ops()
_WORLD = "hccl_world_group"


def allreduce(tensor, reduction, fusion=1, fusion_id=-1, group=_WORLD):
    """Reduces a tensor over all ranks; fusion 0 sends it alone, 1 by the gradient split."""
    return gen_hccl_ops.hcom_all_reduce(
        input=tensor, reduction=reduction, fusion=fusion, fusion_id=fusion_id, group=group
    )


def allgather(tensor, rank_size, group=_WORLD):
    """Concatenates the tensors of all ranks."""
    return gen_hccl_ops.hcom_all_gather(input=tensor, rank_size=rank_size, group=group)


def broadcast(tensor, root_rank, fusion=2, fusion_id=0, group=_WORLD):
    """Returns a list of the root's tensors."""
    return gen_hccl_ops.hcom_broadcast(
        input=tensor, root_rank=root_rank, fusion=fusion, fusion_id=fusion_id, group=group
    )


def reduce(tensor, reduction, root_rank, fusion=0, fusion_id=-1, group=_WORLD):
    """Reduces to one rank; here every rank gets the result."""
    return gen_hccl_ops.hcom_all_reduce(
        input=tensor, reduction=reduction, fusion=fusion, fusion_id=fusion_id, group=group
    )


def reduce_scatter(tensor, reduction, rank_size, group=_WORLD):
    """Not built: the trainer does not use it."""
    raise NotImplementedError("reduce_scatter")


def send(tensor, sr_tag, dest_rank, group=_WORLD):
    """Not built: the trainer does not use it."""
    raise NotImplementedError("send")


def receive(shape, data_type, sr_tag, src_rank, group=_WORLD):
    """Not built: the trainer does not use it."""
    raise NotImplementedError("receive")
