"use strict";
// The charts of how modes were found, each in the element of its name.
const found = data.charts, BLUE = "#0072B2", DARK = "#333";
const axis = (text, more = {}) => ({ title: { text: safe(text) }, automargin: true, gridcolor: "#eee", zeroline: false, ...more });
function chart(name, traces, across, up, more = {}) {
  Plotly.newPlot(`chart-${name}`, traces, { margin: { l: 8, r: 12, t: 12, b: 8 }, height: 280, showlegend: false, hovermode: "closest",
    font: { family: "system-ui, sans-serif", size: 12 }, plot_bgcolor: "#fff", paper_bgcolor: "#fff", xaxis: across, yaxis: up,
    ...more }, { ...config, displayModeBar: false });
}
const curve = ([x, y], name, color, more = {}) => ({ x, y, name, mode: "lines", line: { color, width: 1.5 }, hovertemplate: "%{x}: %{y:.4g}", ...more });

{
  const { training, "held out": checked } = found.loss, traces = [curve(training, "training", DARK)], last = training[0].at(-1);
  if (checked[0].length) traces.push(curve(checked, "held out", "#c44e52"));
  if (data.of_the_mean) traces.push(curve([[1, last], [data.of_the_mean, data.of_the_mean]], "the mean action", "#888",
    { line: { color: "#888", dash: "dash", width: 1 } }));
  const positive = Math.min(...training[1]) > 0; // a log-likelihood may be negative
  chart("loss", traces, axis("iteration", { type: "log" }), axis("loss", { type: positive ? "log" : "linear" }),
    { showlegend: traces.length > 1, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, margin: { l: 8, r: 12, t: 30, b: 8 } });
}
if (found.usage) {
  const what = discrete ? "share of trajectories" : "share of each tenth";
  chart("usage", found.usage.map((series, code) => curve(series, discrete ? nameOf(code) : `tenth ${code + 1}`, found.usage_colours[code],
    { stackgroup: "all", line: { width: 0 }, fillcolor: found.usage_colours[code], hovertemplate: "%{y:.0%}" })),
  axis("iteration", { type: "log" }), axis(what, { range: [0, 1] }));
}
if (found.gaps) {
  const rows = found.gaps.map((_, row) => row), sure = ([, value]) => value > found.level;
  chart("gaps", [{ type: "bar", orientation: "h", y: rows, x: found.gaps.map(([, value]) => value), hovertemplate: "10<sup>-%{x:.1f}</sup><extra></extra>",
    marker: { color: found.gaps.map((gap) => (sure(gap) ? BLUE : "#bbb")) } }],
  axis("-log10 of its chance in one mode"), axis("", { autorange: "reversed", tickvals: rows, ticktext: found.gaps.map(([name]) => safe(short(name, innerWidth > 832 ? 44 : 26))) }),
  { height: Math.max(280, 90 + 20 * rows.length), shapes: [{ type: "line", x0: found.level, x1: found.level, yref: "paper", y0: 0, y1: 1,
    line: { dash: "dot", color: "#888", width: 1 } }] });
  const votes = Object.entries(found.votes);
  chart("votes", [{ type: "bar", x: votes.map(([modes]) => modes), y: votes.map(([, share]) => 100 * share), hovertemplate: "%{y:.0f}%<extra></extra>",
    marker: { color: votes.map(([modes]) => (+modes === found.best ? BLUE : "#bbb")) } }],
  axis("modes", { type: "category" }), axis("parts of the data (%)", { range: [0, 100] }));
}
if (found.segments) {
  const traces = data.colours.map((color, code) => {
    const own = found.segments.flatMap((bands, row) => bands.filter((band) => band[2] === code).map(([from, to]) => [row, from, to]));
    return { type: "bar", orientation: "h", name: safe(nameOf(code)), y: own.map(([row]) => row), base: own.map(([, from]) => from),
      x: own.map(([, from, to]) => to - from), width: 0.8, marker: { color }, hovertemplate: "from step %{base}" };
  });
  chart("segments", traces, axis("step"), axis("", { showticklabels: false, autorange: "reversed" }),
    { barmode: "overlay", height: 110 + 12 * found.segments.length, showlegend: true, legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      margin: { l: 8, r: 12, t: 30, b: 8 } });
}
if (found.updates) {
  const { return_mean: mean, discriminator_accuracy: accuracy, code_information: information, ...codes } = found.updates, steps = axis("environment steps");
  const palette = Object.keys(codes).length > data.palette.length ? ["#aaa"] : data.palette;
  chart("returns", [...Object.entries(codes).map(([name, series], code) => curve(series, safe(name.slice(7)), palette[code % palette.length], { opacity: 0.7 })),
    curve(mean, "mean", DARK, { line: { color: DARK, width: 2 } })], steps, axis("return: mean, and each code"));
  chart("accuracy", [curve(accuracy, "accuracy", DARK)], steps, axis("accuracy of the discriminator", { range: [0.4, 1.02] }));
  chart("information", [curve(information, "information", DARK)], steps, axis("information of the code (nats)", { rangemode: "tozero" }));
}
