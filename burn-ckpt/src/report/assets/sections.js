// The parts of the page beside the curves.

const STATUS_CLASSES = { done: "done", running: "done", failed: "failed" };

function status(run) {
  return make("span", { class: `status ${STATUS_CLASSES[run.status.word] ?? ""}` }, run.status.word);
}

function heading(data) {
  const [run] = data.runs;
  const isSingle = data.runs.length === 1;
  const title = isSingle ? run.name ?? run.id : `${data.runs.length} runs`;
  const parts = [make("h1", {}, title)];
  if (isSingle) {
    const asOf = run.status.word === "running" ? `as of ${moment(data.written)}` : "";
    const rest = [asOf, run.status.why, `run ${run.id}`, run.project && `project ${run.project}`, `started ${moment(run.started)}`];
    const line = make("p", {}, status(run), make("span", { class: "soft" }, ` ${rest.filter(Boolean).join(" · ")}`));
    parts.push(line);
    if (run.tags.length) parts.push(make("p", { class: "soft" }, `tags: ${run.tags.join(", ")}`));
    if (run.notes) parts.push(make("p", {}, run.notes));
    parts.push(facts(run));
  }
  return parts;
}

function facts(run) {
  const { best, speed, model } = run;
  const epochs = run.max_epochs ? `${number(run.epochs)} of ${number(run.max_epochs)}` : number(run.epochs);
  const entries = [
    best && best.score !== null && [`best ${run.primary_metric}`, `${number(best.score, digitsFor(run.checkpoints.map((row) => row.score)))} (step ${number(best.global_step)})`],
    ["epochs", epochs],
    ["optimizer steps", number(run.global_step)],
    ["training time", duration(run.training_time_seconds)],
    run.not_saved && ["logged, not saved", notSaved(run.not_saved)],
    speed && ["speed", `${number(Math.round(speed.items_per_second))} items/s`],
    speed && ["waiting for data", percent(speed.data_share)],
    speed && ["spent on saves", percent(speed.save_share)],
    model && ["model", `${model.type}, ${number(model.parameters)} parameters`],
    run.device && ["device", run.device],
  ];
  return make("dl", { class: "facts" }, ...entries.filter(Boolean).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

// What was logged after the newest checkpoint.
function notSaved({ epochs, steps, seconds }) {
  const count = (value, name) => `${number(value)} ${name}${value === 1 ? "" : "s"}`;
  return [epochs && count(epochs, "epoch"), count(steps, "step"), duration(seconds)].filter(Boolean).join(", ");
}

// One line a run, with the settings that differ.
function runsTable({ runs, not_compared }, state, redraw) {
  const box = (run) => make("input", { type: "checkbox", checked: !state.hidden.has(run), "aria-label": `draw ${run.label}`, onchange: (event) => {
    if (event.target.checked) state.hidden.delete(run);
    else state.hidden.add(run);
    redraw();
  } });
  const metrics = [...new Set(runs.map((run) => run.primary_metric).filter(Boolean))];
  const best = (metric) => (run) => (run.primary_metric === metric ? run.best?.score : null);
  const digits = (metric) => digitsFor(runs.map(best(metric)));
  const columns = [
    { title: "run", value: (run) => run.label, shown: (run) => make("label", { class: "run-name" }, box(run), " ", make("span", { class: "dot", style: `background:${COLOURS[runs.indexOf(run) % COLOURS.length]}` }), run.label) },
    { title: "status", value: (run) => run.status.word, shown: (run) => make("span", { title: run.status.why }, status(run)) },
    ...metrics.map((metric) => ({ title: `best ${metric}`, value: best(metric), shown: (run) => number(best(metric)(run), digits(metric)), isNumber: true })),
    { title: "epochs", value: (run) => run.epochs, isNumber: true },
    { title: "steps", value: (run) => run.global_step, isNumber: true },
    { title: "time", value: (run) => run.training_time_seconds, shown: (run) => duration(run.training_time_seconds), isNumber: true },
    { title: "items/s", value: (run) => run.speed && Math.round(run.speed.items_per_second), isNumber: true },
    ...differing(runs, not_compared).map((key) => ({ title: key, value: (run) => run.settings[key], shown: (run) => setting(run.settings[key]) })),
  ];
  return table("runs", columns, runs, { isSortable: true });
}

function checkpoints(run) {
  const digits = digitsFor(run.checkpoints.map((row) => row.score));
  const others = { best: "among the best" };
  const keptAs = (row) => [row.is_best && "best", row.is_last && "last"].filter(Boolean).join(", ") || (others[row.reason] ?? row.reason);
  return table(`checkpoints of ${run.label}`, [
    { title: "checkpoint", value: (row) => row.path, shown: (row) => make("code", {}, row.path) },
    { title: "step", value: (row) => row.global_step, isNumber: true },
    { title: "epoch", value: (row) => row.epoch, isNumber: true },
    ...(run.primary_metric ? [{ title: run.primary_metric, value: (row) => row.score, shown: (row) => number(row.score, digits), isNumber: true }] : []),
    { title: "size", value: (row) => row.bytes, shown: (row) => bytes(row.bytes), isNumber: true },
    { title: "saved", value: (row) => row.saved, shown: (row) => moment(row.saved) },
    { title: "kept as", value: keptAs },
  ], run.checkpoints, { isSortable: true });
}

function starts(run) {
  return table(`starts of ${run.label}`, [
    { title: "start", value: (row) => row.timestamp, shown: (row) => moment(row.timestamp) },
    { title: "from", value: (row) => row.resumed_from ?? "the beginning" },
    { title: "step", value: (row) => row.global_step, isNumber: true },
    { title: "commit", value: (row) => row.git_commit, shown: (row) => make("code", {}, (row.git_commit ?? "").slice(0, 10)) },
    { title: "ended", value: (row) => row.ended ?? "", shown: (row) => row.ended ?? (row === run.starts.at(-1) ? run.status.word : "not known") },
  ], run.starts);
}

function model(run) {
  return table(`model of ${run.label}`, [
    { title: "module", value: (row) => row.path, shown: (row) => make("code", {}, row.path) },
    { title: "type", value: (row) => row.type },
    { title: "parameters", value: (row) => row.parameters, isNumber: true },
    { title: "trained", value: (row) => row.trainable, isNumber: true },
    { title: "size", value: (row) => row.bytes, shown: (row) => bytes(row.bytes), isNumber: true },
  ], run.model.modules);
}

// Everything about one run: settings, files, starts, machine.
function details(run) {
  const block = (title, content) => make("div", { class: "block" }, make("h3", {}, title), content);
  const folded = (title, content) => make("div", { class: "block" }, make("details", {}, make("summary", {}, title), content));
  const settings = (value) => Object.entries(flat("", value)).map(([key, inner]) => [key, setting(inner)]);
  const parts = [
    run.commands.length && make("div", {}, ...run.commands.map(([title, text]) => command(title, text))),
    run.warnings.length && make("div", { class: "note" }, ...run.warnings.map((warning) => make("p", {}, warning))),
    run.checkpoints.length && block("Checkpoints", checkpoints(run)),
    run.starts.length && block("Starts", starts(run)),
    make("div", { class: "columns" },
      block("Hyperparameters", pairs("hyperparameters", settings(run.hparams))),
      run.model && block("Model", model(run)),
      folded("Trainer settings", pairs("trainer settings", settings(run.trainer_config))),
      folded("Environment", pairs("environment", settings(run.environment)))),
  ];
  return parts.filter(Boolean);
}
