// Prints the JSON Schemas of a dashboard and of the options and fields of the panels that are named:
// node generate.mjs timeseries stat …
import { readdirSync } from "node:fs";
import { createGenerator } from "ts-json-schema-generator";

const raw = "node_modules/@grafana/schema/dist/esm/raw/";

function find(folder) {
  const file = readdirSync(raw + folder).find((name) => name.endsWith("_types.gen.d.ts"));
  return raw + folder + file;
}

function build(path, type) {
  try {
    return createGenerator({ path, type, skipTypeCheck: true }).createSchema(type);
  } catch (error) {
    // Some panels have no fields of their own.
    if (error.constructor.name === "RootlessError" || /No root type/.test(error.message)) return null;
    throw error;
  }
}

const schemas = { dashboard: build(find("dashboard/x/"), "Dashboard"), options: {}, fields: {} };
for (const panel of process.argv.slice(2)) {
  const path = find(`composable/${panel.replace("-", "")}/panelcfg/x/`);
  schemas.options[panel] = build(path, "Options");
  schemas.fields[panel] = build(path, "FieldConfig");
}
process.stdout.write(JSON.stringify(schemas));
