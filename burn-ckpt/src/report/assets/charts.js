// The curves: a chart for each quantity, with training and validation of every run in it.

// Okabe and Ito's colours, which people with any colour vision tell apart, in an order that works on light
// and dark.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#a6761d", "#b2182b", "#5e8c31"];
// After each round of the colours other dashes follow, with their line's width in mind: those of validation, and of
// training beside it.
const DASHES = [[[], [6, 4]], [[14, 4], [6, 4, 1, 4]], [[14, 4, 2, 4], [6, 3, 1, 3, 1, 3]], [[2, 3], [1, 6]]];
const HEIGHT = 240;
// How much of the other curves is left while one is pointed at.
const FADED = 0.15;
// uPlot's mode of joining in which a null and the places of other curves beside it are a gap.
const GAP = 2;
// Curves whose axes have more different places than this are drawn on a grid of so many cells: each curve is an
// array of all places of its chart.
const MAX_PLACES = 12000;
const CELLS = 4000;

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// The charts of a page: quantity -> curves. `val_hard_loss` and `train_loss` are both of `loss`.
function charts(runs) {
  const bare = (name) => name.replace(/^(train|val)_/, "");
  const plain = new Set(runs.flatMap((run) => run.series.map((series) => series.name)).filter((name) => /^train_/.test(name)).map(bare));
  const quantity = (name) => {
    const rest = bare(name);
    const known = [...plain].filter((other) => name.startsWith("val_") && rest.endsWith(`_${other}`));
    return known.sort((a, b) => b.length - a.length)[0] ?? rest;
  };
  const found = new Map();
  runs.forEach((run, place) => {
    for (const series of run.series) {
      const key = quantity(series.name);
      if (!found.has(key)) found.set(key, []);
      found.get(key).push({ run, place, series });
    }
  });
  const isValidated = (curves) => curves.some(({ series }) => series.split === "valid");
  return [...found].sort(([, a], [, b]) => isValidated(b) - isValidated(a));
}

// The colour and the dashes of a run, or of a name.
function line(order, isTraining = false) {
  const round = Math.floor(order / COLOURS.length) % DASHES.length;
  return { colour: COLOURS[order % COLOURS.length], dash: DASHES[round][isTraining ? 1 : 0] };
}

// A piece of a line, beside its name.
function swatch({ colour, dash, isBatch }) {
  const element = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const svg = element("svg", { class: "swatch", width: 32, height: 10, "aria-hidden": "true" });
  svg.append(element("line", { x1: 0, x2: 32, y1: 5, y2: 5, stroke: colour, "stroke-width": isBatch ? 1 : 3, "stroke-dasharray": dash.join(" ") }));
  return svg;
}

// How a curve is drawn: with one run a colour for each name, with several a colour for each run. Training is
// dashed, batches thin.
function look({ run, place, series }, names, isSingle) {
  const isBatch = series.scope === "batch";
  const order = isSingle ? names.indexOf(series.name) : place;
  const isTraining = !isSingle && series.split !== "valid";
  const what = series.name + (isBatch ? " of each batch" : "");
  return { ...line(order, isTraining && !isBatch), isBatch, label: isSingle ? what : `${run.label}: ${what}` };
}

// Curves, each as its axis and its values, with one axis for all. What cannot be drawn (null) is a gap. Where only
// other curves have a value, the line goes on.
function joined(tables) {
  const axes = [...new Set(tables.map(([axis]) => axis))];
  const drawn = new Set(axes.flat()).size > MAX_PLACES ? onGrid(tables) : tables;
  return uPlot.join(drawn, drawn.map(() => [0, GAP]));
}

// The curves with the points of a cell at its end: the lowest and the highest, and the first that cannot be drawn.
function onGrid(tables) {
  let [low, high] = [Infinity, -Infinity];
  for (const [axis] of tables) for (const place of axis) [low, high] = [Math.min(low, place), Math.max(high, place)];
  const width = (high - low) / CELLS;
  const cellOf = (place) => Math.ceil((place - low) / width);
  const end = (cell) => (cell >= CELLS ? high : low + cell * width);
  return tables.map(([axis, values]) => {
    const [places, kept] = [[], []];
    for (let from = 0, to = 0; from < axis.length; from = to) {
      const cell = cellOf(axis[from]);
      let gap, lowest, highest;
      for (; to < axis.length && cellOf(axis[to]) === cell; to++) {
        if (values[to] === null) gap ??= to;
        else {
          if (lowest === undefined || values[to] < values[lowest]) lowest = to;
          if (highest === undefined || values[to] > values[highest]) highest = to;
        }
      }
      const found = [...new Set([gap, lowest, highest])].filter((at) => at !== undefined).sort((a, b) => a - b);
      found.forEach((at, order) => {
        places.push(end(cell) - ((found.length - 1 - order) * width) / 3);
        kept.push(values[at]);
      });
    }
    return [places, kept];
  });
}

class Chart {
  constructor(quantity, curves, state) {
    const names = [...new Set(curves.map(({ series }) => series.name))].sort((a, b) => b.startsWith("val_") - a.startsWith("val_") || a.localeCompare(b));
    const isSingle = new Set(curves.map(({ run }) => run)).size === 1 && state.runs.length === 1;
    this.quantity = quantity;
    this.state = state;
    this.curves = curves.map((curve) => ({ ...curve, ...look(curve, names, isSingle) }));
    this.plot = make("div", { class: "plot", tabindex: 0, role: "img", onkeydown: (event) => this.key(event) });
    this.note = make("p", { class: "bad", hidden: true });
    this.leftOut = make("p", { class: "soft", hidden: true });
    this.keys = make("ul", { class: "key" });
    this.table = folded("Values", () => [this.values()]);
    this.element = make("section", { class: "chart", "aria-label": quantity }, make("h3", {}, quantity), this.plot, this.note, this.leftOut, this.keys, this.table);
  }

  shown() {
    return this.curves.filter(({ run, isBatch }) => !this.state.hidden.has(run) && (!isBatch || this.state.batches));
  }

  draw() {
    this.uplot?.destroy();
    this.uplot = null;
    this.plot.replaceChildren();
    const before = this.drawn ?? [];
    this.drawn = this.shown();
    const axis = ({ series }) => (this.state.x === "steps" ? series.axis.steps : series.axis.seconds);
    const values = this.drawn.flatMap(({ series }) => series.values);
    this.digits = digitsFor(values);
    this.unit = drawnUnit(values, this.state.log);
    this.plot.setAttribute("aria-label", this.summary());
    this.names();
    const missing = this.drawn.filter(({ series }) => !series.values.some(Number.isFinite)).map(({ label }) => label);
    this.note.hidden = missing.length === 0 || missing.length === this.drawn.length;
    this.note.textContent = `no finite values: ${missing.join(", ")}`;
    // A table that shows the curves that are drawn stays as it is sorted.
    if (this.drawn.length !== before.length || this.drawn.some((curve, order) => curve !== before[order])) fill(this.table, () => [this.values()]);
    const isEmpty = values.length > 0 && !values.some((value) => this.isDrawable(value));
    const withoutLogarithm = this.drawn.filter(({ series }) => series.without_logarithm > 0).map(({ label, series }) => `${label} (${number(series.without_logarithm)})`);
    this.leftOut.hidden = !this.state.log || isEmpty || withoutLogarithm.length === 0;
    this.leftOut.textContent = `values without a logarithm: ${withoutLogarithm.join(", ")}`;
    if (isEmpty) {
      const isFinite = values.some(Number.isFinite);
      this.plot.append(make("p", { class: isFinite ? "empty" : "empty bad" }, isFinite ? "no values above 0, which a logarithmic axis needs" : "no finite values"));
      return;
    }
    const tables = this.drawn.map((curve) => [axis(curve), curve.series.values.map((value) => (this.isDrawable(value) ? value / this.unit : null))]);
    const data = tables.length ? joined(tables) : [[]];
    const soft = css("--soft"), grid = css("--grid");
    const lines = { stroke: soft, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: "12px system-ui, sans-serif" };
    const isLog = this.state.log && data.slice(1).flat().some((value) => value > 0);
    const options = {
      width: Math.max(220, this.plot.clientWidth), height: HEIGHT, padding: [8, roomAtRight, 0, 0], legend: { show: false },
      focus: { alpha: FADED },
      cursor: { sync: { key: "curves" }, drag: { x: true, y: false }, points: { size: 6 } },
      scales: { x: { time: false }, y: { distr: isLog ? 3 : 1 } },
      axes: [
        { ...lines, size: 32, ...this.along() },
        { ...lines, size: widthOfLabels, values: (_, ticks) => tickLabels(ticks.map((tick) => this.logged(tick))) },
      ],
      series: [{}, ...this.drawn.map(({ colour, dash, isBatch, label, series }) => ({
        label, stroke: isBatch ? `${colour}66` : colour, width: isBatch ? 1 : 2, dash: dash.length ? dash : undefined, spanGaps: false,
        // Without a neighbour a value has no line.
        points: { show: series.values.filter(Number.isFinite).length <= 2 || (!isBatch && series.values.length <= 60), size: 5 },
      }))],
      hooks: { setCursor: [() => this.follow()], draw: [(plot) => this.marks(plot)] },
    };
    this.uplot = new uPlot(options, data, this.plot);
  }

  // The axis below: steps, or the time.
  along() {
    if (this.state.x === "steps") return { incrs: STEPS_BETWEEN, space: (plot, axis, low, high) => Math.max(50, 8 * String(Math.round(high)).length), values: (_, ticks) => tickLabels(ticks) };
    return { incrs: SECONDS_BETWEEN, space: (plot, axis, low, high) => (high < DAY || high - low >= DAY ? 80 : 140), values: (_, ticks) => timeLabels(ticks) };
  }

  // The value of a tick. Beyond the largest number there is none.
  logged(tick) {
    return tick !== null && Number.isFinite(tick * this.unit) ? tick * this.unit : null;
  }

  isDrawable(value) {
    return Number.isFinite(value) && (!this.state.log || value > 0);
  }

  // The curves in words, for screen readers.
  summary() {
    const said = (value) => number(value, this.digits);
    const curves = this.drawn.filter(({ isBatch }) => !isBatch).map(({ label, series: { values } }) => {
      const finite = values.filter(Number.isFinite);
      const parts = [`first ${said(values[0])}`, `last ${said(values.at(-1))}`];
      if (finite.length) parts.push(`lowest ${said(Math.min(...finite))}`, `highest ${said(Math.max(...finite))}`);
      if (finite.length < values.length) parts.push(`${values.length - finite.length} not finite`);
      return `${label}: ${parts.join(", ")}`;
    });
    return `Curves of ${this.quantity}. ${curves.join(". ")}. Arrow keys move along the curves.`;
  }

  // The names of the curves, each with room for its value.
  names() {
    this.place = make("li", { class: "soft" });
    this.outputs = this.drawn.map(() => make("output"));
    this.keys.replaceChildren(...this.drawn.map((curve, order) => {
      const point = (isPointed) => () => this.uplot?.setSeries(isPointed ? order + 1 : null, { focus: true });
      return make("li", { onpointerenter: point(true), onpointerleave: point(false) }, swatch(curve), `${curve.label} `, this.outputs[order]);
    }));
    this.follow();
  }

  // The values under the cursor, or the last ones. It is called at each move of the mouse.
  follow() {
    const index = this.uplot?.cursor.idx ?? null;
    const x = index === null ? null : this.uplot.data[0][index];
    this.drawn.forEach(({ series }, order) => {
      const text = number(x === null ? series.values.at(-1) : this.valueAt(series, x), this.digits);
      if (this.outputs[order].textContent !== text) this.outputs[order].textContent = text;
    });
    this.place.textContent = x === null ? "" : this.state.x === "steps" ? `step ${number(Math.round(x))}` : duration(x);
    if (x === null) this.place.remove();
    else if (!this.place.isConnected) this.keys.prepend(this.place);
  }

  // The last value of a curve at a place of all curves' steps or times, also one that cannot be drawn.
  valueAt(series, at) {
    const axis = this.state.x === "steps" ? series.axis.steps : series.axis.seconds;
    let [low, high] = [0, axis.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (axis[middle] <= at) low = middle + 1;
      else high = middle;
    }
    return series.values[low - 1];
  }

  // Checkpoints as ticks at the lower edge, the best one as a ring around its value.
  marks(plot) {
    const context = plot.ctx;
    const { left, top, width, height } = plot.bbox;
    context.save();
    for (const { run, series, colour, isBatch } of this.drawn) {
      if (isBatch) continue;
      // Those of a part that was trained again are on no curve.
      for (const checkpoint of run.checkpoints.filter(({ is_trained_again }) => !is_trained_again)) {
        const place = this.state.x === "steps" ? checkpoint.global_step : checkpoint.seconds;
        const x = plot.valToPos(place, "x", true);
        if (place === null || x < left || x > left + width) continue;
        context.fillStyle = colour;
        context.fillRect(x - 1, top + height - 8, 2, 8);
        if (!checkpoint.is_best || run.primary_metric !== series.name || !this.isDrawable(checkpoint.score)) continue;
        context.strokeStyle = colour;
        context.lineWidth = 2 * devicePixelRatio;
        context.beginPath();
        context.arc(x, plot.valToPos(checkpoint.score / this.unit, "y", true), 7 * devicePixelRatio, 0, 2 * Math.PI);
        context.stroke();
      }
    }
    context.restore();
  }

  key(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in moves) || !this.uplot) return;
    const xs = this.uplot.data[0];
    if (!xs.length) return;
    const from = this.uplot.cursor.idx ?? (moves[event.key] > 0 ? -1 : xs.length);
    const to = Math.min(xs.length - 1, Math.max(0, from + moves[event.key]));
    this.uplot.setCursor({ left: this.uplot.valToPos(xs[to], "x"), top: HEIGHT / 2 });
    event.preventDefault();
  }

  // The numbers of the curves that are not of single batches.
  values() {
    const curves = this.drawn.filter(({ isBatch }) => !isBatch);
    const rows = curves.flatMap(({ label, series }) => series.values.map((value, index) => ({ label, value, step: series.axis.steps[index] })));
    return table(`values of ${this.quantity}`, [
      ...(curves.length > 1 ? [{ title: "curve", value: (row) => row.label }] : []),
      { title: "step", value: (row) => row.step, isNumber: true },
      { title: curves.length > 1 ? "value" : curves[0]?.label ?? "value", value: (row) => row.value, shown: (row) => number(row.value, this.digits), isNumber: true },
    ], rows, { isSortable: true });
  }
}
