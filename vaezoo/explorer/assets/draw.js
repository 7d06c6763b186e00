"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const looks = facts.looks;
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b3a400",
  "#aa4499", "#8c8c86", "#6f63bb"];
const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

function ramp(share) {
  const place = (RAMP.length - 1) * share, below = Math.min(RAMP.length - 2, Math.floor(place));
  return RAMP[below].map((v, i) => v + (place - below) * (RAMP[below + 1][i] - v));
}

function floats(text) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

function element(tag, attributes = {}, text = "") {
  const made = Object.assign(document.createElement(tag), attributes);
  if (text) made.textContent = text;
  return made;
}

function ends(index) {
  const place = looks.low.length > 1 ? index : 0;
  return [looks.low[place], looks.high[place]];
}

/* Draw x of a shape into a box; `truth` stands beside it in a table, and of a sequence a frame is marked. */
function show(box, x, shape, truth = null, frame = null, look = looks) {
  if (look.kind === "table") return showTable(box, x, truth);
  let canvas = box.querySelector("canvas");
  if (!canvas) canvas = box.appendChild(element("canvas"));
  canvas.className = look.kind === "image" ? "pixels" : "plot";
  if (look.kind === "image") return drawImage(canvas, x, shape);
  const [context, width, height] = sized(canvas);
  const plot = {roll: drawRoll, pen: drawPen, sound: drawCurve, curve: drawCurve, lines: drawLines};
  plot[look.kind](context, x, shape, width, height, {truth, frame, look});
  if (frame !== null && look.kind !== "pen") markFrame(context, shape[0], frame, width, height, look.kind);
}

/* A frame of a sequence: the span of its cells or samples, or a line where it is one point. */
function markFrame(context, frames, frame, width, height, kind) {
  const margin = kind === "roll" ? 0 : 4, room = width - 2 * margin;
  const isPoint = kind === "lines", wide = isPoint ? 2 : Math.max(2, room / frames);
  const left = margin + (isPoint ? room * frame / Math.max(1, frames - 1) - 1 : room * frame / frames);
  context.fillStyle = colour("--mark");
  context.globalAlpha = isPoint ? 0.9 : 0.35;
  context.fillRect(left, 0, wide, height);
  context.globalAlpha = 1;
}

function sized(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth || 300, height = canvas.clientHeight || 150;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return [context, width, height];
}

function drawImage(canvas, x, shape) {
  const [height, width] = shape.slice(-2), area = height * width;
  const channels = shape.length === 3 && shape[0] === 3 ? 3 : 1;
  const [low, high] = ends(0);
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), picture = context.createImageData(width, height);
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) {
      const value = x[i + (channels === 3 ? c * area : 0)];
      picture.data[4 * i + c] = 255 * (value - low) / (high - low);
    }
    picture.data[4 * i + 3] = Number.isNaN(x[i]) ? 0 : 255;
  }
  context.putImageData(picture, 0, 0);
}

function drawRoll(context, x, shape, width, height, {truth}) {
  const [frames, keys] = shape, [low, high] = ends(0);
  let first = keys, last = 0;
  for (const values of [x, truth || x]) {
    values.forEach((value, i) => {
      if (value < low + 0.2 * (high - low) || Number.isNaN(value)) return;
      first = Math.min(first, i % keys);
      last = Math.max(last, i % keys);
    });
  }
  if (first > last) [first, last] = [0, keys - 1];
  first = Math.max(0, first - 2);
  last = Math.min(keys - 1, last + 2);
  const w = width / frames, h = height / (last - first + 1);
  context.fillStyle = context.strokeStyle = colour("--ink");
  for (let t = 0; t < frames; t++) {
    for (let key = first; key <= last; key++) {
      const level = (x[t * keys + key] - low) / (high - low);
      if (!(level > 0.02)) continue;
      context.globalAlpha = Math.min(1, level);
      context.fillRect(t * w, height - (key - first + 1) * h, Math.max(w, 1), Math.max(h - 0.5, 1));
    }
  }
  context.globalAlpha = 1;
  if (keys !== 88 || height < 80) return;
  context.fillStyle = colour("--quiet");
  context.font = "10px system-ui";
  for (let key = 3; key <= last; key += 12) {
    if (key < first) continue;
    const y = height - (key - first) * h;
    context.fillText(`C${(key - 3) / 12 + 1}`, 2, y - 2);
    context.globalAlpha = 0.3;  // fainter than any note
    context.fillRect(0, y, width, 0.5);
    context.globalAlpha = 1;
  }
}

function drawLine(context, values, step, from, width, height, low, high) {
  const number = Math.floor((values.length - from - 1) / step) + 1;
  context.beginPath();
  let drawn = false;
  for (let t = 0; t < number; t++) {
    const value = values[t * step + from];
    if (Number.isNaN(value)) { drawn = false; continue; }
    const px = 4 + (width - 8) * t / Math.max(1, number - 1);
    const py = height - 6 - (height - 12) * (value - low) / (high - low);
    drawn ? context.lineTo(px, py) : context.moveTo(px, py);
    drawn = true;
  }
  context.stroke();
}

function scaleText(context, low, high, height) {
  if (height < 80) return;
  context.fillStyle = colour("--quiet");
  context.font = "10px system-ui";
  context.fillText(high.toPrecision(3), 4, 11);
  context.fillText(low.toPrecision(3), 4, height - 3);
}

function drawCurve(context, x, shape, width, height) {
  const [low, high] = ends(0);
  context.strokeStyle = colour("--ink");
  context.lineWidth = x.length > 500 ? 0.5 : 1.3;
  drawLine(context, x, 1, 0, width, height, low, high);
  scaleText(context, low, high, height);
}

function drawLines(context, x, shape, width, height, {look}) {
  const number = shape[1], low = Math.min(...look.low), high = Math.max(...look.high);
  for (let i = 0; i < number; i++) {
    context.strokeStyle = number === 1 ? colour("--ink") : PALETTE[i % PALETTE.length];
    context.lineWidth = 1.3;
    drawLine(context, x, number, i, width, height, low, high);
  }
  scaleText(context, low, high, height);
  if (number < 2 || number > 6) return;
  look.names.forEach((name, i) => {
    context.fillStyle = PALETTE[i % PALETTE.length];
    context.fillText(name, 50 + 50 * i, 11);
  });
}

function drawPen(context, x, shape, width, height, {frame}) {
  const points = [[0, 0]];
  for (let t = 0; t < shape[0] && !Number.isNaN(x[3 * t]); t++) {
    points.push([points[t][0] + x[3 * t], points[t][1] + x[3 * t + 1]]);
  }
  const [xs, ys] = [0, 1].map(i => points.map(point => point[i]));
  const [left, bottom] = [Math.min(...xs), Math.min(...ys)];
  const [wide, high] = [Math.max(...xs) - left, Math.max(...ys) - bottom];
  const zoom = Math.min((width - 16) / (wide || 1), (height - 16) / (high || 1));
  const [x0, y0] = [(width - zoom * wide) / 2, (height + zoom * high) / 2];
  context.strokeStyle = colour("--ink");
  context.lineWidth = 2;
  context.lineCap = "round";
  context.beginPath();
  const place = ([px, py]) => [x0 + (px - left) * zoom, y0 - (py - bottom) * zoom];
  points.forEach((point, t) => {
    const lifted = t > 1 && x[3 * (t - 2) + 2] > 0.5;
    t && !lifted ? context.lineTo(...place(point)) : context.moveTo(...place(point));
  });
  context.stroke();
  if (frame === null) return;
  context.fillStyle = colour("--mark");
  context.beginPath();
  context.arc(...place(points[Math.min(frame + 1, points.length - 1)]), 5, 0, 7);
  context.fill();
}

const number = value => Number.isNaN(value) ? "" : Number(value.toPrecision(4)).toString();

function showTable(box, x, truth) {
  const table = element("table"), head = table.createTHead().insertRow();
  const titles = ["", ...(truth ? ["datum"] : []), "model", ""];
  titles.forEach(t => head.append(element("th", {className: t && "number"}, t)));
  const body = table.createTBody();
  looks.names.forEach((name, i) => {
    const row = body.insertRow(), [low, high] = ends(i);
    row.append(element("th", {}, name));
    if (truth) row.append(element("td", {className: "number"}, number(truth[i])));
    row.append(element("td", {className: "number"}, number(x[i])));
    const bar = row.appendChild(element("td", {className: "bar"})).appendChild(element("div"));
    for (const [value, kind] of [[truth ? truth[i] : NaN, ""], [x[i], "made"]]) {
      if (Number.isNaN(value)) continue;
      const mark = bar.appendChild(element("i", {className: kind}));
      const share = Math.max(0, Math.min(1, (value - low) / (high - low)));
      mark.style.left = `calc(${100 * share}% - 1.5px)`;
    }
  });
  box.className = "scrolled";
  box.replaceChildren(table);
}
