// Says what of some scripts and style sheets a Chromium of a given version does not know, by MDN's
// tables: node check.js VERSION FILE...; prints a JSON list of {file, line, what, since}.
"use strict";
const fs = require("fs");
const acorn = require("acorn");
const walk = require("acorn-walk");
const postcss = require("postcss");
const tables = require("@mdn/browser-compat-data");

const ECMASCRIPT = 2019;

// The first Chromium that has it without a flag or prefix; null where the tables say nothing.
function since(entry) {
  const support = entry && entry.__compat && entry.__compat.support.chrome;
  if (!support) { return null; }
  const found = [].concat(support)
    .filter((one) => !one.flags && !one.prefix && !one.alternative_name)
    .map((one) => (one.version_added === false || one.version_added === "preview" ? Infinity : parseFloat(one.version_added)));
  return found.length ? Math.min(...found) : Infinity;
}

// The earliest version in which anything has a member of a name.
function memberTable() {
  const earliest = new Map();
  for (const group of [tables.api, tables.javascript.builtins]) {
    for (const owner of Object.values(group)) {
      for (const [key, entry] of Object.entries(owner)) {
        const version = key === "__compat" ? null : since(entry);
        const name = key.replace(/_(static|event)$/, "");
        if (version !== null && !(earliest.get(name) <= version)) { earliest.set(name, version); }
      }
    }
  }
  return earliest;
}

const members = memberTable();
const named = (name) => tables.api[name] || tables.javascript.builtins[name];

const own = new Set(); // names that the scripts give to things of their own

function noteOwn(program) {
  walk.full(program, (node) => {
    if (node.type === "MethodDefinition" || node.type === "Property") { own.add(node.key.name); }
    if (node.type === "AssignmentExpression" && node.left.type === "MemberExpression") { own.add(node.left.property.name); }
    if (node.type === "VariableDeclarator" && node.id.type === "Identifier") { own.add(node.id.name); }
  });
}

function checkScript(program, tell) {
  walk.full(program, (node) => {
    if (node.type === "MemberExpression" && !node.computed) {
      const name = node.property.name;
      const owner = node.object.type === "Identifier" && !own.has(node.object.name) ? named(node.object.name) : null;
      const exact = owner ? since(owner[name + "_static"] || owner[name]) : null;
      if (exact !== null || !own.has(name)) { tell(node, name, exact === null ? members.get(name) : exact); }
    } else if (node.type === "Identifier" && !own.has(node.name) && named(node.name)) {
      tell(node, node.name, since(named(node.name)));
    }
  });
}

function checkSheet(text, tell) {
  const css = tables.css;
  postcss.parse(text).walk((node) => {
    const at = { loc: node.source };
    if (node.type === "atrule") { tell(at, "@" + node.name, since(css["at-rules"][node.name])); }
    if (node.type === "rule") {
      for (const [, name] of node.selector.matchAll(/::?([a-z-]+)/g)) { tell(at, ":" + name, since(css.selectors[name])); }
    }
    if (node.type === "decl" && !node.prop.startsWith("--")) {
      const property = css.properties[node.prop];
      tell(at, node.prop, since(property));
      for (const [word] of node.value.matchAll(/[a-z][a-z-]*/g)) {
        if (property && property[word]) { tell(at, node.prop + ": " + word, since(property[word])); }
        if (node.value.includes(word + "(")) { tell(at, word + "()", since(css.types[word])); }
      }
    }
  });
}

const floor = parseFloat(process.argv[2]);
const found = [];
const parsed = [];
for (const file of process.argv.slice(3)) {
  const text = fs.readFileSync(file, "utf-8");
  try {
    if (file.endsWith(".css")) { parsed.push([file, checkSheet, text]); continue; }
    const program = acorn.parse(text, { ecmaVersion: ECMASCRIPT, sourceType: "script", locations: true });
    noteOwn(program);
    parsed.push([file, checkScript, program]);
  } catch (error) {
    found.push({ file, line: error.loc ? error.loc.line : 0, what: error.message, since: "" });
  }
}
for (const [file, check, content] of parsed) {
  const tell = (node, what, version) => {
    if (version > floor) { found.push({ file, line: node.loc ? node.loc.start.line : 0, what, since: String(version) }); }
  };
  check(content, tell);
}
process.stdout.write(JSON.stringify(found));
