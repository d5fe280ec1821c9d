"""Which versions of CANN, driver, firmware and adapter were published for each other.

The table holds pairings that the vendor's release notes and installation guides state, or that were
released as one set. It is not complete: a combination that it does not hold may well work, so it is
a warning and never a failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Tuple


@dataclass(frozen=True)
class Pairing:
    """One series of CANN.

    Attributes:
        cann: series of the nnae or toolkit package.
        drivers: series of the driver that go with it.
        firmware: series of the firmware; empty where not known.
    """

    cann: str
    drivers: Tuple[str, ...]
    firmware: Tuple[str, ...] = ()


PAIRINGS = (
    Pairing("20.2", ("20.2",), ("1.76",)),
    Pairing("5.0.4", ("21.0.4",), ("1.80",)),
    Pairing("7.0.RC1", ("23.0.RC3",)),
    Pairing("7.0.0", ("23.0.0",)),
    Pairing("8.0.RC1", ("24.1.RC1",)),
    Pairing("8.0.RC2", ("24.1.RC2",)),
    Pairing("8.1.RC1", ("25.0.RC1",)),
    Pairing("8.5", ("25.0", "25.2", "25.3", "25.5", "26.0.RC1", "26.1.0")),
    Pairing("9.0", ("25.0", "25.2", "25.3", "25.5", "26.0.RC1", "26.1.0")),
    Pairing("9.1", ("25.2", "25.3", "25.5", "26.0.RC1", "26.1.0")),
)

MEASURED_CANN = "20.2"
"""The series that the trainer is written for."""


def is_of_series(version: str, series: str) -> bool:
    """Whether ``20.2.rc1`` belongs to the series ``20.2``; capitals do not matter."""
    ours, wanted = version.lower().split("."), series.lower().split(".")
    return ours[: len(wanted)] == wanted


def find_pairing(cann: str) -> Optional[Pairing]:
    """The pairing of a version of CANN, None for one that the table does not hold."""
    return next((pairing for pairing in PAIRINGS if is_of_series(cann, pairing.cann)), None)


def list_doubts(
    cann: Optional[str],
    driver: Optional[str],
    firmware: Optional[str],
    adapter: Optional[str],
) -> List[str]:
    """What is not known to fit together; versions that are None are passed over.

    Args:
        cann: version of the nnae or toolkit package.
        driver: version of the driver.
        firmware: version of the cards' firmware.
        adapter: version of the tfplugin package, which is released with each CANN.
    """
    doubts: List[str] = []
    if cann is None:
        return doubts
    pairing = find_pairing(cann)
    if pairing is None:
        doubts.append(f"CANN {cann} is not in the table")
    else:
        if driver is not None and not any(is_of_series(driver, one) for one in pairing.drivers):
            doubts.append(
                "CANN {} was published with driver {}, found {}".format(
                    pairing.cann, " or ".join(pairing.drivers), driver
                )
            )
        if (
            firmware is not None
            and pairing.firmware
            and not any(is_of_series(firmware, one) for one in pairing.firmware)
        ):
            doubts.append(
                "CANN {} was published with firmware {}, found {}".format(
                    pairing.cann, " or ".join(pairing.firmware), firmware
                )
            )
    if adapter is not None and _strip(adapter) != _strip(cann):
        doubts.append(f"the adapter is of {adapter} and CANN of {cann}; they are released as one")
    return doubts


def _strip(version: str) -> str:
    return version.lower().strip().lstrip("v")
