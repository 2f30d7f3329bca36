// SPDX-License-Identifier: Apache-2.0
// lanes_check.js - the view's script in dash/lanes.html parses, passes its own check, and reads its
// own example and a trace given by name: node tests/dash/lanes_check.js dash/lanes.html [TRACE]
"use strict";
const fs = require("fs");

const page = fs.readFileSync(process.argv[2], "utf8");
const part = (pattern) => {
  const found = page.match(pattern);
  if (found === null) throw new Error("the page has no " + pattern);
  return found[1];
};
const Lanes = new Function(part(/<script id="lanes">([\s\S]*?)<\/script>/) + "\nreturn Lanes;")();
const wrong = Lanes.selfCheck();
new Function(part(/<\/script>\n<script>([\s\S]*?)<\/script>\n<\/body>/)); // it parses

function check(name, text) {
  const trace = Lanes.parse(text);
  if (trace.errors.length > 0) wrong.push(name + ": " + trace.errors.join(", "));
  if (trace.records.length < 10 || trace.nodes < 1) wrong.push(name + ": no trace");
  const sent = trace.records.filter((r) => r.kind === "sent" || r.kind === "lost").length;
  const arrows = Lanes.arrows(trace.records);
  if (arrows.filter((a) => a.begin >= 0).length !== sent) wrong.push(name + ": an arrow for each departure");
  if (trace.records[0].kind === "began" && arrows.some((a) => a.begin < 0)) wrong.push(name + ": an arrival of nothing");
  if (trace.records.some((r) => Lanes.label(r) === "")) wrong.push(name + ": a record without a label");
}

check("the example", part(/<script id="demo-trace"[^>]*>([\s\S]*?)<\/script>/));
if (process.argv.length > 3) check(process.argv[3], fs.readFileSync(process.argv[3], "utf8"));
if (wrong.length > 0) {
  console.error(wrong.join("\n"));
  process.exit(1);
}
console.log("lanes: all is well");
