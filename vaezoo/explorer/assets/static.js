const by = id => document.getElementById(id);
const {places, step, shape, columns, rows} = facts.grid;
const [width, height] = facts.grid.tile, isColour = looks.kind === "image" && shape.length === 3 && shape[0] === 3;
let levels = null;

/* The values at a place of the grid, from grey levels of its tile. */
function tile(i, j) {
  const left = i * (width + 1), top = (rows - 1 - j) * (height + 1), area = width * height;
  const x = new Float32Array(area * (isColour ? 3 : 1));
  for (let k = 0; k < x.length; k++) {
    const pixel = k % area, channel = Math.floor(k / area);
    const at = (top + Math.floor(pixel / width)) * columns * (width + 1) + left + pixel % width;
    const [low, high] = facts.grid.ends.map(list => list[list.length > 1 ? pixel % width : 0]);
    x[k] = low + (high - low) * levels[4 * at + channel] / 255;
  }
  return x;
}

function ready(picture) {
  const canvas = element("canvas", {width: picture.naturalWidth, height: picture.naturalHeight});
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  levels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  by("sprite").hidden = looks.kind !== "image";
  if (looks.kind !== "image") sheet();
  if (facts.walk) openWalk();
  move([0, 1].map(i => places[i][places[i].length >> 1]));
}

/* Each column of a table over the plane, from dark (least) to yellow (most). */
function columnsOverPlane() {
  by("sheet").className = "columns";
  looks.names.forEach((name, k) => {
    const figure = by("sheet").appendChild(element("figure"));
    const canvas = figure.appendChild(element("canvas", {className: "pixels", width: columns, height: rows}));
    const [low, high] = facts.grid.ends.map(list => number(list[k]));
    figure.append(element("figcaption", {}, `${name}: ${low} to ${high}`));
    const context = canvas.getContext("2d"), picture = context.createImageData(columns, rows);
    for (let j = 0; j < rows; j++) for (let i = 0; i < columns; i++) {
      const share = levels[4 * (2 * j * columns * (width + 1) + i * (width + 1) + k)] / 255;
      picture.data.set([...ramp(share), 255], 4 * (j * columns + i));
    }
    context.putImageData(picture, 0, 0);
  });
}

function sheet() {
  if (looks.kind === "table") return columnsOverPlane();
  const some = axis => [...places[axis].keys()].filter(i => i % facts.grid.every[axis] === 0);
  const across = some(0), up = some(1).reverse();
  by("sheet").style.gridTemplateColumns = `repeat(${across.length}, 1fr)`;
  for (const j of up) for (const i of across) show(by("sheet").appendChild(element("div")), tile(i, j), shape);
}

function move(point) {
  const [i, j] = [0, 1].map(k => {
    const place = step[k] ? Math.round((point[k] - places[k][0]) / step[k]) : 0;
    return Math.max(0, Math.min(places[k].length - 1, place));
  });
  map.place = [places[0][i], places[1][j]];
  map.setPath([]);
  show(by("made").firstElementChild, tile(i, j), shape);
  by("made").lastElementChild.textContent = `at (${map.place.map(v => v.toFixed(2)).join(", ")})`;
  map.draw();
}

/* One frame of the sequence whose codes were written down: where it is, and its latents. */
function walkTo(frame) {
  const {path, values, names, low, high, x, shape} = facts.walk;
  const [made, latents] = by("walk").querySelectorAll("div");
  show(made, floats(x), shape, null, frame);
  const look = {kind: "lines", names, low, high};
  show(latents, values.flat(), [path.length, names.length], null, frame, look);
  const said = names.map((name, i) => `${name} ${values[frame][i].toFixed(2)}`).join(", ");
  by("walk").querySelector("p").textContent = `frame ${frame + 1} of ${path.length}: ${said}`;
  by("walk").querySelector("input").value = frame;
  map.place = path[frame];
  map.setPath(path);
  map.draw();
}

function openWalk() {
  by("walk").hidden = false;
  const slider = by("walk").querySelector("input");
  slider.max = facts.walk.path.length - 1;
  slider.addEventListener("input", () => walkTo(Number(slider.value)));
  walkTo(0);
}

const map = new CodeMap(by("map"), move, null, facts.walk && walkTo);
by("pictures").classList.toggle("wide", looks.kind !== "image");
by("pictures").classList.toggle("table", looks.kind === "table");
by("sprite").decode().then(() => ready(by("sprite")));
