"use strict";
// The simulator. The server says what runs: another window may have started it, or chosen another code.
const WINDOW = String(Math.random()).slice(2), LOOK = 500; // this window's name; milliseconds between two looks
let running = false, refused = "", asked = 0, last = Promise.resolve();
function showCode(code) {
  if (discrete) $("live-code").value = code;
  else if (sliders.some((slider, dimension) => Math.abs(+slider.value - code[dimension]) > 0.005)) {
    sliders.forEach((slider, dimension) => setSlider(slider, code[dimension]));
    if (near.length) showNear();
  }
}
function run(on) {
  running = on;
  $("live").hidden = $("live-reset").disabled = $("live-nudge").disabled = !on;
  if (on) $("live").src = `live${location.search}&window=${WINDOW}`; else $("live").removeAttribute("src");
  $("live-stop").textContent = on ? "Stop" : "Start";
}
function told(state) {
  const own = state && state.window === WINDOW;
  if (running && !own) run(false); // it failed, or shows elsewhere
  if (state) showCode(state.code);
  const elsewhere = state && state.window && !own ? "Another window shows the simulator; Start shows it here." : "";
  $("live-said").textContent = state ? state.problem || refused || elsewhere : "The server does not answer; start it again.";
}
async function look() {
  const before = asked, answer = await fetch("live.json" + location.search).catch(() => null);
  const state = answer && answer.ok ? await answer.json() : null;
  if (asked === before && !waiting) told(state); // else it is older than what was asked
}
async function send(what) {
  const answer = await fetch("live" + location.search, { method: "POST", body: JSON.stringify(what) }).catch(() => null);
  asked++;
  if (!answer) { told(null); return false; }
  refused = answer.ok ? "" : await answer.text();
  if (answer.ok) told(await answer.json()); else look();
  return answer.ok;
}
function ask(what) { // one after the other, so that the last one stays
  asked++;
  last = last.then(() => send(what));
  return last;
}
const shownCode = () => (discrete ? +$("live-code").value : sliders.map((slider) => +slider.value));
$("live-list").hidden = !discrete;
$("live-code").onchange = () => ask({ code: shownCode() });
$("live-reset").onclick = () => ask({ reset: true });
$("live-nudge").onclick = () => ask({ nudge: true });
$("live").onerror = () => { if (running) look(); }; // which says what failed
$("live-stop").onclick = async () => {
  if (running) run(false);
  else if (await ask({ start: WINDOW, code: shownCode() })) run(true);
};
run(false);
look();
setInterval(() => { if (!document.hidden) look(); }, LOOK);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
