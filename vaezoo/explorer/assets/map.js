/* The map of codes: what is at a place, what was tapped, and the way of a sequence over it. */
class CodeMap {
  constructor(canvas, onMove, onPick = null, onFrame = null) {
    Object.assign(this, {canvas, onMove, onPick, onFrame, place: null, target: null, ellipse: null, path: [], covariances: []});
    this.points = facts.points;
    this.levels = facts.labels ? [...new Set(facts.labels)].filter(v => v !== null) : [];
    this.levels.sort((a, b) => a - b);
    this.limits();
    canvas.addEventListener("pointerdown", event => this.pressed(event));
    canvas.addEventListener("pointermove", event => this.moved(event));
    canvas.addEventListener("keydown", event => this.keyed(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    document.getElementById("legend").textContent = this.legend();
  }

  legend() {
    const labels = !this.levels.length ? "" : this.levels.length > PALETTE.length
      ? ` Colours: the label, from ${number(this.levels[0])} to ${number(this.levels.at(-1))}.`
      : " Colours: the label.";
    const ellipse = facts.grid ? "" : " Ellipse: two standard deviations of the guide.";
    const across = facts.axes[1] ? `, up: ${facts.axes[1]}` : "";
    return `To the right: ${facts.axes[0]}${across}.${labels}${ellipse}`;
  }

  limits() {
    const spans = [0, 1].map(i => {
      const codes = facts.grid ? facts.grid.places[i] : this.points.map(p => p[i]);
      const along = this.path.flatMap((p, frame) => {
        const reach = 2 * Math.sqrt(this.covariances.length ? this.covariances[frame][i][i] : 0);
        return [p[i] - reach, p[i] + reach];
      });
      const values = [...codes, ...along];
      return [Math.min(...values), Math.max(...values)];
    });
    const size = 1.15 * Math.max(...spans.map(([a, b]) => b - a), 1e-6);
    this.spans = spans.map(([a, b]) => [(a + b - size) / 2, (a + b + size) / 2]);
  }

  pixel(point) {
    const {clientWidth: w, clientHeight: h} = this.canvas, side = Math.min(w, h);
    const [x, y] = [0, 1].map(i => (point[i] - this.spans[i][0]) / (this.spans[i][1] - this.spans[i][0]));
    return [(w - side) / 2 + side * x, (h + side) / 2 - side * y];
  }

  unit() {
    const side = Math.min(this.canvas.clientWidth, this.canvas.clientHeight);
    return side / (this.spans[0][1] - this.spans[0][0]);
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const [left, bottom] = this.pixel([this.spans[0][0], this.spans[1][0]]);
    const x = event.clientX - box.left, y = event.clientY - box.top;
    return {pixel: [x, y], point: [this.spans[0][0] + (x - left) / this.unit(),
      this.spans[1][0] + (bottom - y) / this.unit()]};
  }

  /* Lay the way of a sequence over the map, which grows to show it and its ellipses. */
  setPath(path, covariances = []) {
    Object.assign(this, {path, covariances});
    this.limits();
  }

  nearest(pixel, points) {
    let best = null, least = 7;
    points.forEach((point, place) => {
      const [x, y] = this.pixel(point), distance = Math.hypot(x - pixel[0], y - pixel[1]);
      if (distance < least) [best, least] = [place, distance];
    });
    return best;
  }

  pressed(event) {
    this.canvas.focus();
    this.canvas.setPointerCapture(event.pointerId);
    const {pixel, point} = this.at(event);
    const frame = this.onFrame && this.nearest(pixel, this.path);
    const row = this.onPick && this.nearest(pixel, this.points);
    this.isPicked = frame !== null || row !== null;
    if (frame !== null) this.onFrame(frame);
    else if (row !== null) this.onPick(row);
    else this.onMove(point);
  }

  moved(event) {
    if (event.buttons && event.pressure !== 0 && !this.isPicked) this.onMove(this.at(event).point);
  }

  keyed(event) {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
    if (!step || !this.place) return;
    event.preventDefault();
    const size = facts.grid ? facts.grid.step : (this.spans[0][1] - this.spans[0][0]) / 50;
    this.onMove([0, 1].map(i => this.place[i] + step[i] * (size[i] ?? size)));
  }

  hue(label) {
    if (label === null || !this.levels.length) return colour("--focus");
    if (this.levels.length <= PALETTE.length) return PALETTE[this.levels.indexOf(label)];
    const [low, high] = [this.levels[0], this.levels.at(-1)];
    return `rgb(${ramp((label - low) / (high - low || 1))})`;
  }

  draw() {
    const [context] = sized(this.canvas);
    if (facts.grid) this.drawGrid(context);
    this.points.forEach((point, row) => {
      context.fillStyle = this.hue(facts.labels ? facts.labels[row] : null);
      context.globalAlpha = 0.75;
      context.beginPath();
      context.arc(...this.pixel(point), 3.5, 0, 7);
      context.fill();
    });
    context.globalAlpha = 1;
    if (this.levels.length <= PALETTE.length) this.drawLabels(context);
    if (this.path.length) this.drawPath(context);
    if (this.ellipse) this.drawEllipse(context);
    if (this.target) this.drawWay(context);
    if (this.place) this.drawPlace(context);
  }

  drawGrid(context) {
    const [xs, ys] = facts.grid.places, half = facts.grid.step.map(step => step / 2);
    const [left, top] = this.pixel([xs[0] - half[0], ys.at(-1) + half[1]]);
    const [right, bottom] = this.pixel([xs.at(-1) + half[0], ys[0] - half[1]]);
    context.fillStyle = colour("--paper");
    context.fillRect(left, top, right - left, bottom - top);
  }

  drawLabels(context) {
    context.font = "bold 13px system-ui";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3;
    for (const level of this.levels) {
      const own = this.points.filter((_, row) => facts.labels[row] === level);
      const place = this.pixel([0, 1].map(i => own.reduce((sum, p) => sum + p[i], 0) / own.length));
      context.strokeStyle = colour("--paper");
      context.strokeText(number(level), ...place);
      context.fillStyle = colour("--ink");
      context.fillText(number(level), ...place);
    }
  }

  drawEllipse(context) {
    const {centre, covariance: [[a, b], [, c]]} = this.ellipse;
    const middle = (a + c) / 2, apart = Math.hypot((a - c) / 2, b), unit = 2 * this.unit();
    const radii = [middle + apart, middle - apart].map(v => unit * Math.sqrt(Math.max(v, 0)));
    context.strokeStyle = colour("--mark");
    context.lineWidth = 1.5;
    context.beginPath();
    context.ellipse(...this.pixel(centre), ...radii, -Math.atan2(2 * b, a - c) / 2, 0, 7);
    context.stroke();
  }

  drawPath(context) {
    const places = this.path.map(point => this.pixel(point));
    context.strokeStyle = context.fillStyle = colour("--ink");
    context.globalAlpha = 0.7;
    context.lineWidth = 1;
    context.beginPath();
    places.forEach(place => context.lineTo(...place));
    context.stroke();
    for (const place of places) {
      context.beginPath();
      context.arc(...place, 2, 0, 7);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  drawWay(context) {
    context.strokeStyle = colour("--quiet");
    context.lineWidth = 1.5;
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(...this.pixel(this.target[0]));
    context.lineTo(...this.pixel(this.target[1]));
    context.stroke();
    context.setLineDash([]);
  }

  drawPlace(context) {
    context.beginPath();
    context.arc(...this.pixel(this.place), 6, 0, 7);
    context.fillStyle = colour("--mark");
    context.fill();
    context.strokeStyle = colour("--paper");
    context.lineWidth = 2;
    context.stroke();
  }
}
