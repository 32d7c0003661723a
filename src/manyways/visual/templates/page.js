"use strict";
// The page of a run. All text from the data goes through textContent, or through `safe` into Plotly.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const safe = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const short = (text, most = 34) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
const number = (value) => (Math.abs(value) >= 1e4 || (value && Math.abs(value) < 1e-3) ? value.toExponential(2)
  : String(+value.toPrecision(4)));
const plural = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
const count = data.ids.length, discrete = Boolean(data.codes), coordinates = data.coordinates || [], STEP = -1;
const GREY = "#b5b5b5", CHOSEN = "#0072B2", NEAR = "#D55E00", NEAREST = 5, SCALE = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#9fda3a", "#fde725"];
const place = new Map(data.drawn.map((demonstration, index) => [demonstration, index]));
const config = { displaylogo: false, responsive: true,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "toImage", "sendChartToCloud"] }; // the last would upload the data

// The numbers: 16 bits each, column by column.
const bytes = Uint8Array.from(atob(data.points), (letter) => letter.charCodeAt(0));
const levels = new DataView(bytes.buffer), rows = data.steps.length;
function values(column, index) {
  const first = index ? data.ends[index - 1] : 0, found = [];
  for (let row = first; row < data.ends[index]; row++) {
    if (column === STEP) found.push(data.steps[row]);
    else found.push(data.low[column] + (data.high[column] - data.low[column]) / 65535
      * levels.getUint16(2 * (column * rows + row), true));
  }
  return found;
}
const columnName = (column) => (column === STEP ? "step" : data.columns[column]);

// What a person has decided.
const names = discrete ? data.modes.map((mode) => mode.name) : [];
const trained = names.map((_, code) => code); // the policy has no others
function addMode(words, typical = []) {
  data.modes.push({ words, typical, worst: [], half: [] });
  data.colours.push(data.palette[names.length % data.palette.length]);
  names.push("");
}
const labels = new Map(), excluded = new Set(), position = new Map(data.ids.map((id, index) => [id, index]));
const gone = new Set(); // left out when this run was trained
for (const id of data.edits.exclude || []) { if (position.has(id)) excluded.add(position.get(id)); else gone.add(id); }
for (const [id, code] of Object.entries(data.edits.labels || {})) {
  while (discrete && names.length <= code && code < count) addMode([]); // that was split off
  if (discrete && position.has(id) && code < names.length) labels.set(position.get(id), code);
}
const KINDS = ["different", "same"];
let pairs = [], held = null; // two demonstrations each, and 1 if they are the same way; one to compare others with
KINDS.forEach((kind, same) => {
  for (const pair of data.edits[kind] || []) if (pair.every((id) => position.has(id))) pairs.push([...pair.map((id) => position.get(id)), same]);
});
for (const [code, name] of Object.entries(data.edits.names || {})) if (+code < names.length) names[code] = name;
let merged = false, changed = false, chosen = null, near = []; // demonstrations with codes near the sliders'
const colourOf = (index) => (discrete ? data.colours[codeOf(index)] : CHOSEN);
const codeOf = (index) => (labels.has(index) ? labels.get(index) : data.codes[index]);
const nameOf = (code) => (names[code] ? `${code} ${names[code]}` : `code ${code}`);

function element(tag, text, options = {}) {
  const made = Object.assign(document.createElement(tag), options);
  if (text !== undefined) made.textContent = text;
  return made;
}
function fill(select, entries, value) {
  select.replaceChildren(...entries.map(([key, text]) => element("option", short(text), { value: key, title: text })));
  select.value = value;
}

// The picture of all.
const axes = [[STEP, "step"], ...data.columns.map((name, column) => [column, name])];
fill($("x"), axes, data.axes[0]);
fill($("y"), axes, data.axes[1]);
fill($("z"), [["", "none"], ...axes], "");
const codeName = (dimension) => (coordinates.length > 1 ? `code ${dimension}` : "code");
const measures = Object.fromEntries(coordinates.map((column, dimension) => [codeName(dimension), column]));
if (data.losses) measures.loss = data.losses;
if (data.margins) measures.margin = data.margins;
measures.length = data.lengths;
const colourings = discrete ? [["code", "code"]] : [];
for (const name of Object.keys(measures)) colourings.push([`m:${name}`, name]);
for (const name of Object.keys(data.attributes)) colourings.push([`a:${name}`, name]);
colourings.push(["time", "time"]);
fill($("colour"), colourings, colourings[0][0]);

function grouping() {
  // Returns groups of demonstrations with a colour each, and a scale where the colours are of numbers.
  const choice = $("colour").value, visible = data.drawn.filter((index) => !excluded.has(index));
  if (choice === "code") {
    return { groups: data.colours.map((colour, code) => ({ colour, name: nameOf(code),
      members: visible.filter((index) => codeOf(index) === code) })) };
  }
  if (choice === "time") return { groups: [{ colour: GREY, name: "", members: visible }], time: true };
  const name = choice.slice(2), column = choice[0] === "m" ? measures[name] : data.attributes[name];
  if (typeof column[0] === "number" && (choice[0] === "m" || new Set(column).size > 7)) {
    const sorted = visible.map((index) => column[index]).sort((a, b) => a - b);
    const low = sorted[0], high = sorted[Math.floor(0.98 * (sorted.length - 1))]; // an outlier would hide the others
    const bin = (value) => Math.min(SCALE.length - 1, Math.floor(SCALE.length * (value - low) / (high - low || 1)));
    return { scale: { name, low, high }, groups: SCALE.map((colour, which) => ({ colour, name: "",
      members: visible.filter((index) => bin(column[index]) === which) })) };
  }
  const kinds = [...new Set(column)].sort();
  return { groups: kinds.map((kind, which) => ({ colour: data.palette[which % data.palette.length], name: String(kind),
    members: visible.filter((index) => column[index] === kind) })) };
}
function hover(index) {
  const lines = [`<b>${safe(short(data.ids[index]))}</b>`];
  if (discrete) lines.push(safe(short(nameOf(codeOf(index)))) + (labels.has(index) ? " (your label)" : ""));
  for (const [name, column] of Object.entries(measures)) if (name !== "length") lines.push(`${name} ${number(column[index])}`);
  lines.push(plural(data.lengths[index], "step"));
  for (const [name, column] of Object.entries(data.attributes).slice(0, 5)) {
    lines.push(`${safe(short(name))}: ${safe(short(String(column[index])))}`);
  }
  return lines.join("<br>");
}
function lineOf(members, style, three) {
  // One trace for all members, with gaps between them.
  const columns = ["x", "y", "z"].slice(0, three ? 3 : 2).map((axis) => +$(axis).value);
  const found = columns.map(() => []), owners = [];
  for (const index of members) {
    columns.forEach((column, axis) => found[axis].push(...values(column, place.get(index)), null));
    owners.push(...Array(values(STEP, place.get(index)).length + 1).fill(index));
  }
  const texts = new Map(members.map((index) => [index, hover(index)]));
  return { type: three ? "scatter3d" : "scatter", mode: "lines", x: found[0], y: found[1], ...(three ? { z: found[2] } : {}),
    customdata: owners, text: owners.map((index) => texts.get(index)), hovertemplate: "%{text}<extra></extra>",
    connectgaps: false, showlegend: false, ...style };
}
function draw() {
  const three = $("z").value !== "", { groups, scale, time } = grouping();
  const opacity = Math.max(0.25, Math.min(0.85, 25 / Math.sqrt(data.drawn.length) / 3));
  const traces = groups.filter((group) => group.members.length).map((group) => lineOf(group.members, {
    name: safe(short(group.name, 24)), showlegend: Boolean(group.name), line: { color: group.colour, width: three ? 2.5 : 1.3 },
    opacity: chosen === null && !near.length ? opacity : 0.12 }, three));
  if (near.length) traces.push(lineOf(near, { line: { color: NEAR, width: three ? 5 : 2.5 } }, three));
  if (time && chosen === null) {
    const all = lineOf(groups[0].members, { mode: "markers" }, three), owners = groups[0].members;
    const shares = owners.flatMap((index) => [...values(STEP, place.get(index)).map((s) => s / (data.lengths[index] - 1)), null]);
    all.marker = { size: three ? 2 : 4, color: shares, colorscale: "Viridis", cmin: 0, cmax: 1,
      colorbar: { title: { text: "time" }, thickness: 10 } };
    traces.push(all);
  }
  if (scale) {
    traces.push({ type: three ? "scatter3d" : "scatter", mode: "markers", x: [null], y: [null], z: [null], showlegend: false,
      hoverinfo: "skip", marker: { color: [scale.low], cmin: scale.low, cmax: scale.high, showscale: true,
        colorscale: SCALE.map((colour, which) => [which / (SCALE.length - 1), colour]),
        colorbar: { title: { text: safe(short(scale.name, 18)) }, thickness: 10 } } });
  }
  if (chosen !== null && place.has(chosen)) {
    const colour = colourOf(chosen);
    traces.push(lineOf([chosen], { mode: "lines+markers", line: { color: colour, width: three ? 6 : 3 },
      marker: { size: 3, color: colour } }, three));
  }
  const title = (axis) => ({ title: { text: safe(short(columnName(+$(axis).value), 40)) }, automargin: true });
  const narrow = window.innerWidth < 832; // where Plotly's buttons are always there
  const layout = { margin: { l: 8, r: 8, t: narrow ? 32 : 8, b: 8 }, hovermode: "closest", uirevision: [$("x").value, $("y").value, three].join(),
    font: { family: "system-ui, sans-serif", size: 12 }, plot_bgcolor: "#fff", paper_bgcolor: "#fff",
    legend: { orientation: "h", itemsizing: "constant", ...(narrow ? { yref: "container", y: 0, yanchor: "bottom" } : { y: 1.01, yanchor: "bottom" }) }, hoverlabel: { align: "left" },
    ...(three ? { scene: { xaxis: title("x"), yaxis: title("y"), zaxis: title("z") } }
      : { xaxis: { ...title("x"), gridcolor: "#eee", zeroline: false }, yaxis: { ...title("y"), gridcolor: "#eee", zeroline: false } }) };
  return Plotly.react("plot", traces, layout, config);
}

// One demonstration.
fill($("series"), [["axes", "as in the picture"], ["actions", "actions"], ["observations", "observations"],
  ...data.columns.map((name, column) => [column, name])], "axes");
function series() {
  const choice = $("series").value, all = data.columns.map((_, column) => column);
  if (choice === "actions") return all.slice(data.observed, data.observed + data.acted);
  if (choice === "observations") return all.slice(0, data.observed);
  if (choice !== "axes") return [+choice];
  return [...new Set(["x", "y", "z"].map((axis) => $(axis).value).filter((value) => value !== "" && +value !== STEP).map(Number))];
}
function drawTime() {
  const columns = series().slice(0, 12), own = place.get(chosen);
  const alike = data.drawn.filter((index) => index !== chosen && !excluded.has(index)
    && (!discrete || codeOf(index) === codeOf(chosen))).slice(0, 15);
  const traces = [], colour = colourOf(chosen);
  const layout = { margin: { l: 8, r: 8, t: 18, b: 8 }, height: 60 + 105 * columns.length, showlegend: false, hovermode: "closest",
    font: { family: "system-ui, sans-serif", size: 11 }, xaxis: { title: { text: "step" }, automargin: true, gridcolor: "#eee" },
    annotations: [], grid: { rows: columns.length, columns: 1, pattern: "coupled", roworder: "top to bottom" } };
  columns.forEach((column, row) => {
    const axis = row ? `y${row + 1}` : "y";
    const common = { type: "scatter", mode: "lines", xaxis: "x", yaxis: axis };
    for (const index of alike) {
      traces.push({ ...common, x: values(STEP, place.get(index)), y: values(column, place.get(index)), hoverinfo: "skip",
        line: { color: "#d5d5d5", width: 1 } });
    }
    traces.push({ ...common, x: values(STEP, own), y: values(column, own), line: { color: colour, width: 2 },
      hovertemplate: "step %{x}: %{y:.4g}<extra></extra>" });
    layout[`yaxis${row ? row + 1 : ""}`] = { automargin: true, gridcolor: "#eee", zeroline: false, nticks: 4 };
    layout.annotations.push({ text: safe(short(data.columns[column], 40)), xref: "paper", yref: `${axis} domain`, x: 0, y: 1.02,
      xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 11, color: "#555" } });
  });
  return Plotly.react("time", traces, layout, { ...config, displayModeBar: false });
}
function showOne() {
  $("one-body").hidden = chosen === null;
  $("one-hint").hidden = chosen !== null;
  $("one-title").textContent = chosen === null ? "One demonstration" : data.ids[chosen];
  if (chosen === null) return;
  const facts = Object.entries(measures).filter(([name]) => name !== "length").map(([name, column]) => `${name} ${number(column[chosen])}`
    + (name === "loss" && data.of_the_mean ? ` (the mean action's ${number(data.of_the_mean)})` : ""));
  facts.push(plural(data.lengths[chosen], "step"));
  for (const [name, column] of Object.entries(data.attributes)) facts.push(`${name}: ${column[chosen]}`);
  for (const suspect of data.suspects) if (suspect[0] === chosen) facts.push(suspect[3]);
  $("one-facts").textContent = facts.join("; ");
  $("one-mode").parentElement.hidden = !discrete;
  if (discrete) fill($("one-mode"), data.modes.map((_, code) => [code, nameOf(code)]), codeOf(chosen));
  $("one-exclude").textContent = excluded.has(chosen) ? "Include" : "Exclude";
  $("one-hold").parentElement.hidden = !discrete;
  $("one-hold").textContent = held === chosen ? "Now choose another" : "Compare";
  $("one-same").hidden = $("one-different").hidden = held === null || held === chosen;
  if (held !== null) { $("one-same").textContent = `The same way as ${data.ids[held]}`; $("one-different").textContent = `Another way than ${data.ids[held]}`; }
  $("time").hidden = $("series").parentElement.hidden = !place.has(chosen);
  if (place.has(chosen)) drawTime();
}
function choose(index) {
  chosen = index;
  Plotly.Fx.unhover("plot"); // a finger does not leave the line that it tapped
  draw();
  showOne();
  if (index !== null && window.innerWidth < 832) $("one").scrollIntoView({ behavior: "smooth", block: "start" });
}

// Modes, suspects, edits.
function link(index) {
  const button = element("button", data.ids[index], { type: "button", className: "link" });
  if (data.losses) button.title = `loss ${number(data.losses[index])}`;
  button.classList.toggle("out", excluded.has(index));
  button.dataset.demonstration = index;
  button.onclick = () => { choose(index); $("one").scrollIntoView({ behavior: "smooth", block: "nearest" }); };
  return button;
}
function listed(title, members) {
  const line = element("p", `${title}: `);
  members.forEach((index, at) => line.append(...(at ? [", "] : []), link(index)));
  return line;
}
function modeCard(mode, code) {
  const card = element("div", undefined, { className: "card" }), own = data.ids.map((_, index) => index)
    .filter((index) => !excluded.has(index) && codeOf(index) === code);
  card.style.setProperty("--colour", data.colours[code]);
  const head = element("div", undefined, { className: "row" });
  head.append(element("strong", `code ${code}`), element("span", `${plural(own.length, "demonstration")}, `
    + `${(100 * own.length / Math.max(1, count - excluded.size)).toFixed(1)}%`));
  const input = element("input", undefined, { value: names[code], placeholder: "name of this mode", maxLength: 60,
    ariaLabel: `name of code ${code}` });
  input.dataset.code = code;
  input.onchange = () => {
    const text = input.value.trim();
    const problem = /^[+-]?\d+$/.test(text) ? "A name needs a letter." : text && names.some((other, at) => at !== code && other === text)
      ? "Another mode has this name." : "";
    input.setCustomValidity(problem);
    if (problem) { input.reportValidity(); return; }
    names[code] = text;
    update();
  };
  card.append(head, input);
  if (mode.words.length) {
    const words = element("ul");
    words.append(...mode.words.map((text) => element("li", text)));
    card.append(words);
  } else if (own.length) card.append(element("p", "Nothing clear distinguishes it in single columns.", { className: "note" }));
  for (const [what, all] of [["typical", mode.typical], ["explained worst", mode.worst]]) {
    const left = all.filter((index) => own.includes(index));
    if (left.length) card.append(listed(what, left));
  }
  const row = element("div", undefined, { className: "row" }), half = mode.half.filter((index) => !excluded.has(index) && codeOf(index) === code);
  if (half.length && half.length < own.length) {
    const button = element("button", `Split off ${half.length}`, { type: "button", title: mode.clause });
    button.onclick = () => split(mode, half);
    row.append(button, element("span", mode.clause, { className: "note" }));
  }
  card.append(row);
  if (own.length && data.modes.length > 1) {
    const select = element("select", undefined, { ariaLabel: `merge code ${code}` });
    fill(select, [["", "merge into …"], ...data.modes.map((_, other) => [other, nameOf(other)]).filter(([other]) => other !== code)], "");
    select.onchange = () => {
      for (const index of own) label(index, +select.value);
      names[code] = "";
      merged = true;
      update();
    };
    card.append(select);
  }
  return card;
}
function split(mode, half) {
  const typical = [...half].sort((a, b) => data.losses[a] - data.losses[b]).slice(0, 5);
  addMode(mode.clause ? [`of the mode it was in: ${mode.clause}`] : [], typical);
  for (const index of half) labels.set(index, names.length - 1);
  mode.typical = mode.typical.filter((index) => !half.includes(index)); // they hold the number of the code
  update();
}
function label(index, code) {
  if (code === data.codes[index]) labels.delete(index);
  else labels.set(index, code);
}
function toggle(index) {
  if (!excluded.delete(index)) { excluded.add(index); labels.delete(index); }
  update();
}
function compare(same) {
  pairs = [...pairs.filter((pair) => !pair.slice(0, 2).every((index) => index === held || index === chosen)), [held, chosen, same]];
  held = null;
  update();
}
function suspectRow([index, , score, reason]) {
  const row = element("div", undefined, { className: "suspect" });
  const button = element("button", excluded.has(index) ? "Include" : "Exclude", { type: "button" });
  button.onclick = () => toggle(index);
  const who = element("div"); who.append(link(index));
  row.append(who, element("div", reason, { className: "why", title: `score ${score}` }), button);
  return row;
}
function drawEdits() {
  const items = [];
  names.forEach((name, code) => { if (name) items.push(element("li", `code ${code} is called ${name}`)); });
  for (const id of gone) {
    const item = element("li", `${id} was left out of this run `), back = element("button", "include again", { type: "button", className: "link" });
    back.onclick = () => { gone.delete(id); update(); };
    item.append(back);
    items.push(item);
  }
  for (const index of excluded) { const item = element("li", "exclude "); item.append(link(index)); items.push(item); }
  const shown = [...labels].slice(0, 30);
  for (const [index, code] of shown) { const item = element("li"); item.append(link(index), ` has the mode ${nameOf(code)}`); items.push(item); }
  if (labels.size > shown.length) items.push(element("li", `and ${plural(labels.size - shown.length, "other label")}`));
  for (const pair of pairs) {
    const item = element("li"), drop = element("button", "remove", { type: "button", className: "link" });
    drop.onclick = () => { pairs = pairs.filter((each) => each !== pair); update(); };
    item.append(link(pair[0]), pair[2] ? " is the same way as " : " is another way than ", link(pair[1]), " ", drop);
    items.push(item);
  }
  $("edits").replaceChildren(...items);
  $("one-clash").textContent = $("clash").textContent = contradiction();
  const { size } = edits();
  $("command").textContent = command(size);
}
function update(first = false) {
  changed = !first;
  $("saved").textContent = first ? data.unread && `${data.unread}; saving replaces it` : "not saved yet";
  if (data.live && discrete) fill($("live-code"), trained.map((code) => [code, nameOf(code)]), $("live-code").value || 0);
  if (discrete) $("modes").replaceChildren(...data.modes.map(modeCard));
  $("suspects").replaceChildren(...data.suspects.map(suspectRow));
  drawEdits();
  draw();
  showOne();
}
const text = () => JSON.stringify(edits().found, null, 2) + "\n";
function refuse(what) {
  const problem = contradiction();
  if (problem) $("saved").textContent = `Not ${what}: ${problem}`;
  return Boolean(problem);
}
$("download").onclick = () => {
  if (refuse("downloaded")) return;
  const address = URL.createObjectURL(new Blob([text()], { type: "application/json" }));
  element("a", "", { href: address, download: "edits.json" }).click();
  URL.revokeObjectURL(address);
  changed = false;
  $("saved").textContent = "downloaded";
};
if (data.served) $("save").onclick = async () => {
  if (refuse("saved")) return;
  const answer = await fetch("edits.json" + location.search, { method: "POST", body: text(), headers: { "Content-Type": "application/json" } })
    .catch(() => null);
  changed = !(answer && answer.ok);
  $("saved").textContent = answer ? await answer.text() : "The server does not answer; start it again, or download the file.";
};

// The code of continuous ones, in the prior's CDF of each dimension.
function showNear() {
  const far = (index) => Math.hypot(...sliders.map((slider, dimension) => coordinates[dimension][index] - slider.value));
  near = data.drawn.filter((index) => !excluded.has(index)).sort((a, b) => far(a) - far(b)).slice(0, NEAREST);
  draw();
  showOne();
  $("near").replaceChildren("nearest: ", ...near.flatMap((index, at) => [...(at ? [", "] : []), link(index)]));
  $("near-none").hidden = false;
}
const sliders = coordinates.map((_, dimension) => {
  const slider = element("input", undefined, { type: "range", min: 0.01, max: 0.99, step: 0.01, value: 0.5, id: `slider-${dimension}` });
  const row = element("label", codeName(dimension)), value = element("output", "0.50");
  row.append(slider, value);
  $("sliders").append(row);
  slider.oninput = () => { setSlider(slider, +slider.value); chosen = null; slid(); };
  return slider;
});
function setSlider(slider, value) {
  slider.value = value;
  slider.nextElementSibling.textContent = (+slider.value).toFixed(2);
}
let waiting = false;
function slid() {
  if (waiting) return; // a picture at a time: a drag gives hundreds of events
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    showNear();
    if (data.live) ask({ code: sliders.map((slider) => +slider.value) });
  });
}
function noneNear() {
  near = [];
  $("near").replaceChildren();
  $("near-none").hidden = true;
  draw();
}
$("near-none").onclick = noneNear;
$("code-section").hidden = !coordinates.length;

window.addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });

// The start.
const remarks = [];
if (data.drawn.length < count) remarks.push(`${data.drawn.length.toLocaleString("en")} of ${plural(count, "demonstration")} are drawn: those listed below, and others at random.`);
if (data.sampled) remarks.push("Long demonstrations are drawn at some of their steps.");
if (data.left_out) remarks.push(`${plural(data.left_out, "column")} that hardly vary or distinguish less cannot be chosen.`);
$("note").textContent = remarks.join(" ");
$("modes-section").hidden = !discrete;
$("suspects-note").textContent = !data.suspects.length ? "Nothing is unusual." : data.suspects_in_all > data.suspects.length
  ? `The first ${data.suspects.length} of ${data.suspects_in_all.toLocaleString("en")}, the most unusual first.` : "The most unusual first.";
for (const id of ["x", "y", "z", "colour"]) $(id).onchange = () => { draw(); showOne(); };
$("series").onchange = () => drawTime();
$("one-mode").onchange = () => { label(chosen, +$("one-mode").value); excluded.delete(chosen); update(); };
$("one-exclude").onclick = () => toggle(chosen);
$("one-hold").onclick = () => { held = held === chosen ? null : chosen; showOne(); };
KINDS.forEach((kind, same) => { $(`one-${kind}`).onclick = () => compare(same); });
$("one-close").onclick = () => choose(null);
update(true);
$("plot").on("plotly_click", ({ points: [point] }) => { if (point.customdata !== undefined) choose(point.customdata); });
