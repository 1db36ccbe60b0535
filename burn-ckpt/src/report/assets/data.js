// Reads the data in the page. The numbers of all curves are one block: gzip in base64, an array after the
// other. An array of `count` numbers of 64 bits begins at byte `at` with the highest byte of each number,
// then the next byte of each, and so on: bytes that are alike are neighbours, which compresses. Where `sums`
// is set, each number is the difference to the one before.

async function readData() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const packed = Uint8Array.from(atob(data.block), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const block = new Uint8Array(await new Response(stream).arrayBuffer());
  for (const run of data.runs) {
    const clock = { steps: numbers(block, run.clock.steps), seconds: numbers(block, run.clock.seconds) };
    const axes = run.axes.map((place) => {
      const steps = numbers(block, place);
      return { steps, seconds: steps.map((step) => timeAt(clock, step)) };
    });
    for (const series of run.series) {
      series.axis = axes[series.axis];
      series.values = numbers(block, series.values);
    }
    for (const checkpoint of run.checkpoints) checkpoint.seconds = timeAt(clock, checkpoint.global_step);
    run.settings = { ...flat("", run.hparams), ...flat("trainer.", run.trainer_config) };
  }
  return data;
}

function numbers(block, { at, count, sums }) {
  const view = new DataView(new ArrayBuffer(8));
  const found = new Array(count);
  let sum = 0;
  for (let index = 0; index < count; index++) {
    for (let plane = 0; plane < 8; plane++) view.setUint8(plane, block[at + plane * count + index]);
    const value = view.getFloat64(0);
    found[index] = sums ? (sum += value) : value;
  }
  return found;
}

// The seconds since the start at which a step was done, between the moments that are known. 0 where none is.
function timeAt({ steps, seconds }, step) {
  let [low, high] = [0, steps.length - 1];
  if (high < 0) return 0;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step) low = middle + 1;
    else high = middle;
  }
  if (low === 0 || steps[low] <= step) return seconds[low];
  const share = (step - steps[low - 1]) / (steps[low] - steps[low - 1]);
  return seconds[low - 1] + share * (seconds[low] - seconds[low - 1]);
}

// {"a": {"b": 1}} as {"a.b": 1}, and a list of tables by their places: {"a": [{"b": 1}]} as {"a.0.b": 1}.
function flat(prefix, value) {
  const found = {};
  for (const [key, inner] of Object.entries(value ?? {})) {
    const isTables = Array.isArray(inner) && inner.length > 0 && inner.every(isTable);
    if (isTable(inner)) Object.assign(found, flat(`${prefix}${key}.`, inner));
    else if (isTables) inner.forEach((fields, place) => Object.assign(found, flat(`${prefix}${key}.${place}.`, fields)));
    else found[prefix + key] = inner;
  }
  return found;
}

function isTable(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

// The value of a path among settings by their paths: one, or the table of those below it.
function settingAt(settings, path) {
  if (path in settings) return settings[path];
  const below = Object.entries(settings).filter(([key]) => key.startsWith(`${path}.`));
  return below.length ? Object.fromEntries(below.map(([key, value]) => [key.slice(path.length + 1), value])) : undefined;
}

// The settings that are not the same in all runs, without those of names, places and saving: first those with
// several values, then those that only some runs have. What is a table in some runs and one value in others, as
// null, is one setting. A run without a checkpoint has no settings that are known.
function differing(runs, notCompared) {
  const known = runs.map((run) => run.settings).filter((settings) => Object.keys(settings).length > 0);
  const all = new Set(known.flatMap((settings) => Object.keys(settings)));
  const tables = (key) => key.split(".").map((_, place, parts) => parts.slice(0, place + 1).join("."));
  const names = [...new Set([...all].map((key) => tables(key).find((table) => all.has(table))))];
  const isCompared = (key) => !key.startsWith("trainer.") || !notCompared.includes(key.split(".")[1]);
  const found = (key) => known.map((settings) => JSON.stringify(settingAt(settings, key)));
  const values = (key) => new Set(found(key).filter((value) => value !== undefined));
  const isPartial = (key) => found(key).includes(undefined);
  const compared = names.filter(isCompared);
  const several = compared.filter((key) => values(key).size > 1);
  return [...several, ...compared.filter((key) => values(key).size === 1 && isPartial(key))];
}
