// The parts of the page beside the curves.

const STATUS_CLASSES = { done: "done", running: "done", failed: "failed" };

function status(run) {
  const hasDiverged = run.checkpoints.at(-1)?.non_finite;
  return make("span", { class: `status ${hasDiverged ? "failed" : STATUS_CLASSES[run.status.word] ?? ""}` }, run.status.word);
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
    parts.push(facts(run), warnings(run));
  }
  return parts;
}

function warnings(run) {
  return make("div", { class: "note", hidden: run.warnings.length === 0 }, ...run.warnings.map((warning) => make("p", {}, warning)));
}

function facts(run) {
  const { best, speed, model } = run;
  const epochs = run.max_epochs ? `${number(run.epochs)} of ${number(run.max_epochs)}` : number(run.epochs);
  const entries = [
    best && best.score !== null && [`best ${run.primary_metric}`, `${number(best.score, digitsFor(run.checkpoints.map((row) => row.score)))} (step ${number(best.global_step)})${run.best_differs ? `: it ${run.best_differs}` : ""}`],
    ["epochs done", epochs],
    ["optimizer steps", number(run.global_step)],
    ["training time", duration(run.training_time_seconds)],
    run.not_saved && ["logged, not saved", notSaved(run.not_saved)],
    speed?.items > 0 && ["items trained on", items(run)],
    speed?.items_per_second && ["speed", `${rate(speed.items_per_second)} items/s`],
    speed && ["waiting for data", percent(speed.data_share)],
    speed && ["spent on saves", percent(speed.save_share)],
    model && ["model", `${model.type}, ${number(model.parameters)} parameters`],
    run.device && ["device", run.device],
  ];
  return make("dl", { class: "facts" }, ...entries.filter(Boolean).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

// How many items the run was trained on, and in each epoch, if all epochs had as many and none is in progress.
function items({ speed, epochs, is_at_epoch_end }) {
  const each = speed.items / epochs;
  return number(speed.items) + (is_at_epoch_end && epochs > 1 && Number.isInteger(each) ? ` (${number(each)} an epoch)` : "");
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
    { title: "run", value: (run) => run.label, shown: (run) => make("label", { class: "run-name" }, box(run), " ", swatch(line(runs.indexOf(run))), " ", run.label) },
    { title: "status", value: (run) => run.status.word, shown: (run) => make("span", { title: run.status.why }, status(run)) },
    ...metrics.map((metric) => ({ title: `best ${metric}`, value: best(metric), shown: (run) => bestValue(run, number(best(metric)(run), digits(metric))), isNumber: true })),
    { title: "epochs done", value: (run) => run.epochs, isNumber: true },
    { title: "steps", value: (run) => run.global_step, isNumber: true },
    { title: "time", value: (run) => run.training_time_seconds, shown: (run) => duration(run.training_time_seconds), isNumber: true },
    { title: "items/s", value: (run) => run.speed?.items_per_second, shown: (run) => rate(run.speed?.items_per_second), isNumber: true },
    ...differing(runs, not_compared).map((key) => {
      const value = (run) => settingAt(run.settings, key);
      const shown = (run) => settingInWords(key, value(run));
      return { title: key, value: (run) => (isTable(value(run)) ? shown(run) : value(run)), shown };
    }),
  ];
  const marked = runs.filter((run) => run.best_differs && run.best);
  const notes = marked.map((run) => make("p", { class: "soft" }, `* ${run.label}: the best checkpoint ${run.best_differs}`));
  return make("div", {}, table("runs", columns, runs, { isSortable: true }), ...notes);
}

// A best value that other settings gave than those in the line.
function bestValue(run, text) {
  return text && run.best_differs ? make("span", { title: `it ${run.best_differs}` }, `${text}*`) : text;
}

function checkpoints(run) {
  const digits = digitsFor(run.checkpoints.map((row) => row.score));
  const others = { best: "among the best" };
  const names = (row) => [row.is_best && "best", row.is_last && "last"].filter(Boolean).join(", ") || (others[row.reason] ?? row.reason);
  const keptAs = (row) => names(row) + (row.non_finite ? ", not finite" : "");
  return table(`checkpoints of ${run.label}`, [
    { title: "checkpoint", value: (row) => row.path, shown: (row) => make("code", {}, row.path), isText: true },
    { title: "step", value: (row) => row.global_step, isNumber: true },
    { title: "epoch (from 0)", value: (row) => row.epoch, isNumber: true },
    ...(run.primary_metric ? [{ title: run.primary_metric, value: (row) => row.score, shown: (row) => number(row.score, digits), isNumber: true }] : []),
    { title: "size", value: (row) => row.bytes, shown: (row) => bytes(row.bytes), isNumber: true },
    { title: "saved", value: (row) => row.saved, shown: (row) => moment(row.saved) },
    { title: "kept as", value: keptAs, shown: (row) => make("span", { class: row.non_finite ? "bad" : null, title: row.non_finite && `it has ${row.non_finite}` }, shortened(keptAs(row))), isText: true },
  ], run.checkpoints, { isSortable: true });
}

function starts(run) {
  return table(`starts of ${run.label}`, [
    { title: "start", value: (row) => row.timestamp, shown: (row) => moment(row.timestamp) },
    { title: "from", value: (row) => row.resumed_from ?? "the beginning" },
    { title: "step", value: (row) => row.global_step, isNumber: true },
    { title: "commit", value: (row) => row.git_commit, shown: (row) => make("code", {}, (row.git_commit ?? "").slice(0, 10)) },
    ...(run.starts.some((row) => row.changed.length) ? [{ title: "changed", value: (row) => row.changed.join(", "), shown: (row) => shortened(row.changed.join(", ")), isText: true }] : []),
    { title: "ended", value: (row) => row.ended ?? "", shown: (row) => shortened(row.ended ?? (row === run.starts.at(-1) ? run.status.word : "not known")), isText: true },
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
function details(run, isSingle) {
  const block = (title, content) => make("div", { class: "block" }, make("h3", {}, title), content);
  const closed = (title, content) => make("div", { class: "block" }, make("details", {}, make("summary", {}, title), content));
  const settings = (value) => Object.entries(flat("", value)).map(([key, inner]) => [key, setting(inner)]);
  const parts = [
    isSingle ? null : warnings(run),
    run.how_to_resume && make("p", { class: "how" }, run.how_to_resume),
    run.commands.length && make("div", {}, ...run.commands.map(([title, text]) => command(title, text))),
    run.checkpoints.length && block("Checkpoints", checkpoints(run)),
    run.starts.length && block("Starts", starts(run)),
    make("div", { class: "columns" },
      block("Hyperparameters", pairs("hyperparameters", settings(run.hparams))),
      run.model && block("Model", model(run)),
      closed("Trainer settings", pairs("trainer settings", settings(run.trainer_config))),
      closed("Environment", pairs("environment", settings(run.environment)))),
  ];
  return parts.filter(Boolean);
}
