const by = id => document.getElementById(id);
const state = {row: facts.row, to: null, at: 0, path: "linear", values: null};
let current = null, truth = null, sliders = [], busy = false, again = false;

async function ask(path, body) {
  const options = body ? {method: "POST", body: JSON.stringify(body),
    headers: {"Content-Type": "application/json"}} : {};
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw Error("the server of this page has ended: start vaezoo explore again");
  }
  const answer = await reply.json();
  if (!reply.ok) throw Error(answer.error);
  return answer;
}

async function attempt(work) {
  try {
    await work();
    by("status").textContent = "";
  } catch (error) {
    by("status").textContent = error.message;
  }
}

/* One request at a time: what was asked for meanwhile is asked once, with the latest values. */
async function decode() {
  if (busy) { again = true; return; }
  busy = true;
  await attempt(async () => {
    do {
      again = false;
      current = await ask("decode", state);
      current.x = floats(current.x);
      paint();
    } while (again);
  });
  busy = false;
}

function paint() {
  show(by("made").firstElementChild, current.x, current.shape, truth && truth.x);
  map.place = current.place;
  map.draw();
  sliders.forEach(({input, output, place}) => {
    if (document.activeElement !== input || !state.values) input.value = current.values[place];
    output.textContent = current.values[place].toFixed(2);
  });
}

async function start(row) {
  Object.assign(state, {row: clamp(row), at: 0, values: null});
  await attempt(async () => {
    truth = await ask(`datum?row=${state.row}`);
    truth.x = floats(truth.x);
    if (looks.kind !== "table") show(by("datum").firstElementChild, truth.x, truth.shape);
    by("datum").hidden = looks.kind === "table";
    by("datum").lastElementChild.textContent = caption(truth);
    by("verdict").textContent = truth.verdict || facts.unjudged;
    map.ellipse = {centre: facts.points[state.row], covariance: truth.covariance};
  });
  by("row").value = state.row;
  by("at").value = 0;
  aim();
  await decode();
}

const clamp = row => Math.max(0, Math.min(facts.points.length - 1, Math.round(row) || 0));
const caption = ({row, label}) => `row ${row}${label === null ? "" : `, label ${number(label)}`}`;
const anyRow = () => Math.floor(Math.random() * facts.points.length);

async function walk(row) {
  state.to = clamp(row);
  by("to").value = state.to;
  await attempt(async () => {
    const other = await ask(`datum?row=${state.to}`);
    by("other").hidden = looks.kind === "table";
    if (looks.kind !== "table") show(by("other").firstElementChild, floats(other.x), other.shape);
    by("other").lastElementChild.textContent = caption(other);
  });
  aim();
  go(Number(by("at").value) || 0.5);
}

function aim() {
  map.target = state.to === null ? null : [facts.points[state.row], facts.points[state.to]];
}

function go(at) {
  if (state.to === null) return walk(anyRow());
  by("at").value = at;
  Object.assign(state, {at, values: null});
  return decode();
}

function set(place, value) {
  if (!current) return;
  state.values = [...(state.values || current.values)];
  state.values[place] = value;
  decode();
}

function move(point) {
  if (!current) return;
  const from = state.values || current.values, place = map.place;
  const [dx, dy] = [0, 1].map(i => point[i] - place[i]);
  state.values = from.map((v, i) => v + dx * facts.directions[0][i] + dy * facts.directions[1][i]);
  map.place = point;
  map.draw();
  decode();
}

function slider(place) {
  const {name, low, high, kl} = facts.units[place];
  const row = element("label", {className: "slider"}), wide = high - low || 2;
  const input = element("input", {type: "range", step: "any", min: low - wide / 4, max: high + wide / 4});
  const output = element("output");
  row.append(element("span", {title: name}, name), input, output,
    element("small", {}, kl === null ? "" : `${kl.toFixed(2)} nats`));
  input.addEventListener("input", () => set(place, Number(input.value)));
  sliders.push({input, output, place});
  return row;
}

function reset() {
  Object.assign(state, {at: 0, values: null});
  by("at").value = 0;
  decode();
}

const map = new CodeMap(by("map"), move, row => { start(row); });
facts.open.forEach(place => by("sliders").append(slider(place)));
by("others").hidden = !facts.folded.length;
by("others").open = !facts.open.length;
by("others").firstElementChild.textContent = facts.others;
by("others").addEventListener("toggle", () => {
  const box = by("others").lastElementChild;
  if (!box.firstChild) facts.folded.forEach(place => box.append(slider(place)));
  if (current) paint();
});
by("pictures").classList.toggle("wide", ["roll", "lines", "sound", "curve"].includes(looks.kind));
by("pictures").classList.toggle("table", looks.kind === "table");
for (const id of ["row", "to"]) by(id).max = facts.points.length - 1;
by("row").addEventListener("change", () => start(Number(by("row").value)));
by("to").addEventListener("change", () => walk(Number(by("to").value)));
by("next").addEventListener("click", () => start(state.row + 1));
by("previous").addEventListener("click", () => start(state.row - 1));
by("random").addEventListener("click", () => start(anyRow()));
by("random-to").addEventListener("click", () => walk(anyRow()));
by("reset").addEventListener("click", reset);
by("path").addEventListener("change", () => { state.path = by("path").value; go(Number(by("at").value)); });
by("at").addEventListener("input", () => go(Number(by("at").value)));
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT/.test(event.target.tagName)) return;
  const act = {n: () => start(state.row + 1), p: () => start(state.row - 1), r: () => start(anyRow()), 0: reset};
  act[event.key]?.();
});
window.addEventListener("resize", () => { if (current) paint(); });
start(facts.row);
