"use strict";
// What was decided, as edits.json has it; whether it can all be kept; and the command that trains again with it.
function edits() {
  // After a merge the codes that are left are numbered anew, so that fewer modes can be trained.
  const used = new Set(data.ids.map((_, index) => index).filter((index) => !excluded.has(index)).map((index) => (discrete ? codeOf(index) : 0)));
  const numbers = new Map();
  (data.modes || []).forEach((_, code) => { if (!merged || used.has(code)) numbers.set(code, numbers.size); });
  const found = { names: {}, exclude: [...gone, ...[...excluded].sort((a, b) => a - b).map((index) => data.ids[index])], labels: {} };
  names.forEach((name, code) => { if (name && numbers.has(code)) found.names[numbers.get(code)] = name; });
  for (const [index, code] of [...labels].sort((a, b) => a[0] - b[0])) found.labels[data.ids[index]] = numbers.get(code);
  if (Object.keys(found.names).length || labels.size) { // typical ones hold the numbers of the codes
    const paired = new Set(pairs.flatMap((pair) => pair.slice(0, 2))); // whose mode the pairs decide
    found.anchors = {};
    for (const [code, to] of numbers) {
      const holds = (each) => data.codes[each] === code && !excluded.has(each) && !labels.has(each) && !paired.has(each);
      const typical = data.modes[code].typical.filter(holds), own = typical.length ? typical : [...data.codes.keys()].filter(holds);
      for (const index of own.slice(0, 3)) found.anchors[data.ids[index]] = to;
    }
  }
  KINDS.forEach((kind, same) => {
    const own = pairs.filter((pair) => pair[2] === same && !pair.slice(0, 2).some((index) => excluded.has(index)));
    if (own.length) found[kind] = own.map((pair) => pair.slice(0, 2).map((index) => data.ids[index]));
  });
  return { found, size: numbers.size };
}
function quoted(word) { return /^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replace(/'/g, "'\\''")}'`; }
function command(size) {
  const words = [...data.command];
  if (words[0] !== "manyways" || words[1] !== "train") return `manyways.train(..., edits=${JSON.stringify(data.edits_file)})`;
  const others = discrete && size !== trained.length; // a policy cannot go on with another number of codes
  const counted = others || (discrete && words.includes("--modes"));
  for (const option of ["--edits", "--out", ...(counted ? ["--modes"] : []), ...(others ? ["--init"] : [])]) {
    const at = words.indexOf(option);
    if (at >= 0) words.splice(at, 2);
  }
  if (counted) words.push("--modes", String(size));
  const out = data.command.indexOf("--out");
  return [...words, "--edits", data.edits_file, "--out", `${out < 0 ? "RUN" : data.command[out + 1].replace(/\/$/, "")}-2`].map(quoted).join(" ");
}
function contradiction() {
  // Returns a sentence on decisions that cannot be kept together, "" if there are none.
  const above = new Map(), own = pairs.filter(([one, other]) => !excluded.has(one) && !excluded.has(other));
  const first = (index) => { while (above.has(index)) index = above.get(index); return index; };
  for (const [one, other, same] of own) if (same && first(one) !== first(other)) above.set(first(one), first(other));
  const known = new Map(), id = (index) => short(data.ids[index]); // who is labelled, of each way
  for (const [index, code] of labels) {
    const before = known.get(first(index));
    if (before !== undefined && labels.get(before) !== code) {
      return `${id(before)} and ${id(index)} are the same way by your pairs, but you gave them the modes ${nameOf(labels.get(before))} and ${nameOf(code)}; change one of these decisions.`;
    }
    known.set(first(index), index);
  }
  for (const [one, other, same] of own) {
    if (same) continue;
    if (first(one) === first(other)) return `${id(one)} is another way than ${id(other)}, but the same way by your other pairs; remove one of these pairs.`;
    const code = labels.get(known.get(first(one)));
    if (code !== undefined && code === labels.get(known.get(first(other)))) {
      return `${id(one)} is another way than ${id(other)}, but you gave both the mode ${nameOf(code)}, if through pairs; change one of these decisions.`;
    }
  }
  return "";
}
