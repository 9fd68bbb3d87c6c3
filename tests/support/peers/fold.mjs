// Reads logs, one a line as a JSON list of entries, and prints what the page's module folds each to; for
// tests/support/page_fold.py. Ends with its standard input.

import { createInterface } from "node:readline";

import { fold } from "../../../static/relations.js";

for await (const log of createInterface({ input: process.stdin })) console.log(JSON.stringify(fold(JSON.parse(log))));
