const by = id => document.getElementById(id);
const state = {row: facts.row, to: null, at: 0, path: "linear", values: null, frame: null};
const paths = {};
let current = null, truth = null, target = null, sliders = [], busy = false, again = false;

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
  show(by("made").firstElementChild, current.x, current.shape, truth && truth.x, state.frame);
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
    by("datum").hidden = looks.kind === "table";
    by("datum").lastElementChild.textContent = caption(truth);
    by("verdict").textContent = truth.verdict || facts.unjudged;
    await aim();
  });
  by("row").value = state.row;
  by("at").value = 0;
  await decode();
}

const clamp = row => Math.max(0, Math.min(facts.points.length - 1, Math.round(row) || 0));
const caption = ({row, label}) => `row ${row}${label === null ? "" : `, label ${number(label)}`}`;
const anyRow = () => Math.floor(Math.random() * facts.points.length);

async function walk(row) {
  state.to = clamp(row);
  by("to").value = state.to;
  await attempt(async () => {
    target = await ask(`datum?row=${state.to}`);
    target.x = floats(target.x);
    by("other").hidden = looks.kind === "table";
    by("other").lastElementChild.textContent = caption(target);
    await aim();
  });
  go(Number(by("at").value) || 0.5);
}

const frames = () => Math.min(truth.shape[0], target ? target.shape[0] : Infinity);
const pathOf = async row => paths[row] || (paths[row] = await ask(`path?row=${row}`));

/* Show the data, and on the map whence and whither: of all frames, or of the one that is chosen. */
async function aim() {
  if (state.frame !== null) state.frame = Math.min(state.frame, frames() - 1);
  const {row, to, frame} = state, isAlone = frame !== null;
  for (const [figure, datum] of [["datum", truth], ["other", target]]) {
    if (datum && looks.kind !== "table") show(by(figure).firstElementChild, datum.x, datum.shape, null, frame);
  }
  const [own, other] = await Promise.all([row, to].map(row => isAlone && row !== null ? pathOf(row) : null));
  map.setPath(...(isAlone ? [own.places, own.covariances] : [[]]));
  map.ellipse = isAlone ? {centre: own.places[frame], covariance: own.covariances[frame]}
    : {centre: facts.points[row], covariance: truth.covariance};
  const whither = isAlone ? other && other.places[frame] : facts.points[to];
  map.target = to === null ? null : [map.ellipse.centre, whither];
  by("single").checked = isAlone;
  by("frame").max = frames() - 1;
  by("frame").value = frame || 0;
  by("frame-number").textContent = isAlone ? `frame ${frame + 1} of ${frames()}` : `${frames()} frames, all alike`;
}

async function walkTo(frame) {
  Object.assign(state, {frame, values: null});
  await attempt(aim);
  await decode();
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

const map = new CodeMap(by("map"), move, start, walkTo);
by("frames").hidden = !facts.frames;
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
by("single").addEventListener("change", () => walkTo(by("single").checked ? Number(by("frame").value) : null));
by("frame").addEventListener("input", () => walkTo(Number(by("frame").value)));
by("path").addEventListener("change", () => { state.path = by("path").value; go(Number(by("at").value)); });
by("at").addEventListener("input", () => go(Number(by("at").value)));
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT/.test(event.target.tagName)) return;
  const act = {n: () => start(state.row + 1), p: () => start(state.row - 1), r: () => start(anyRow()), 0: reset};
  act[event.key]?.();
});
window.addEventListener("resize", () => { if (current) paint(); });
start(facts.row);
