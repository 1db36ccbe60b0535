// Puts the page together.

function radio(name, choices, chosen, change) {
  const inputs = choices.map(([value, label]) => make("label", {}, make("input", { type: "radio", name, value, checked: value === chosen, onchange: () => change(value) }), ` ${label}`));
  return make("fieldset", {}, make("legend", {}, name), ...inputs);
}

function check(label, isChecked, change) {
  return make("label", {}, make("input", { type: "checkbox", checked: isChecked, onchange: (event) => change(event.target.checked) }), ` ${label}`);
}

function curves(data, state, drawn) {
  const redraw = () => drawn.forEach((chart) => chart.draw());
  const set = (field) => (value) => { state[field] = value; redraw(); };
  const hasBatches = data.runs.some((run) => run.series.some((series) => series.scope === "batch"));
  const controls = make("div", { class: "controls" },
    radio("along", [["steps", "steps"], ["seconds", "time"]], state.x, set("x")),
    check("logarithmic", state.log, set("log")),
    hasBatches ? check("single batches", state.batches, set("batches")) : null,
    make("span", { class: "soft" }, "Drag to zoom, double click for all."));
  drawn.push(...charts(data.runs).map(([quantity, found]) => new Chart(quantity, found, state)));
  const empty = drawn.length ? null : make("p", { class: "soft" }, "No metric has been logged yet.");
  const rounded = data.rounding ? make("p", { class: "note" }, data.rounding) : null;
  return make("section", { id: "curves", "aria-label": "curves" }, make("h2", {}, "Curves"), controls, rounded, empty, make("div", { class: "charts" }, ...drawn.map((chart) => chart.element)));
}

async function page() {
  const data = await readData();
  const isSingle = data.runs.length === 1;
  const state = { runs: data.runs, x: "steps", log: false, batches: isSingle, hidden: new Set() };
  const drawn = [];
  const redraw = () => drawn.forEach((chart) => chart.draw());
  document.getElementById("top").replaceChildren(...heading(data));
  const parts = [];
  if (!isSingle) parts.push(make("section", { id: "runs" }, make("h2", {}, "Runs"), runsTable(data, state, redraw)));
  parts.push(curves(data, state, drawn));
  for (const run of data.runs) {
    parts.push(isSingle
      ? make("section", { id: "run" }, make("h2", {}, "The run"), ...details(run, isSingle))
      : make("section", {}, folded(make("h2", {}, run.label), () => details(run, isSingle))));
  }
  parts.push(make("footer", {}, `Written ${moment(data.written)} by ${data.program}. ${data.runs.map((run) => run.path).join(", ")}`));
  document.getElementById("page").replaceChildren(...parts);
  redraw();
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

page().catch((error) => {
  document.getElementById("page").replaceChildren(make("p", { class: "note" }, `This page cannot be shown: ${error}. It needs a browser of 2023 or later.`));
  console.error(error);
});
