// The numbers along the axes of a chart. They have as many digits as tell two neighbours apart, in the
// shortest of the forms that all numbers of an axis can have.

// The part of the distance to its neighbour by which the text of a number may be wrong.
const TOLERANCE = 0.01;
const MAX_DIGITS = 17;
// Charts below one another whose numbers are short begin at the same place.
const MIN_AXIS_WIDTH = 58;
// Values beyond these are drawn as parts of a power of ten: a chart's own arithmetic ends before theirs.
const DRAWABLE = [1e-25, 1e25];
const DAY = 86400;
// Steps are whole.
const STEPS_BETWEEN = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((first) => first * 10 ** power)).flat();
const SECONDS_BETWEEN = [
  ...[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30],
  ...[1, 2, 5, 10, 15, 30].map((minutes) => 60 * minutes),
  ...[1, 2, 3, 6, 12].map((hours) => 3600 * hours),
  ...Array.from({ length: 5 }, (_, power) => [1, 2, 5].map((first) => DAY * first * 10 ** power)).flat(),
];

// The texts of an axis's ticks. A tick of null has none.
function tickLabels(ticks) {
  const shown = ticks.filter((tick) => tick !== null);
  // Along a logarithmic axis each number has its own size.
  if (shown[0] > 0 && shown.at(-1) > 10 * shown[0] && (shown.length === 2 || !isEven(shown))) {
    return ticks.map((tick) => (tick === null ? "" : tickLabels([tick])[0]));
  }
  const forms = [asPlain, asUnit(1e3, "k"), asUnit(1e6, "M"), asUnit(1e9, "G"), asUnit(1e12, "T"), asPower];
  const found = forms.map((form) => labelsOf(shown, form)).filter(Boolean);
  // A power of ten is read more slowly.
  const length = (label) => label.length + (label.includes("e") ? 1 : 0);
  const longest = (labels) => Math.max(0, ...labels.map(length));
  const [best] = found.sort((a, b) => longest(a) - longest(b));
  const texts = [...(best ?? shown.map(String))];
  return ticks.map((tick) => (tick === null ? "" : texts.shift()));
}

function isEven(ticks) {
  const [distance, ...others] = ticks.slice(1).map((tick, place) => tick - ticks[place]);
  return others.every((other) => Math.abs(other - distance) <= TOLERANCE * distance);
}

// The texts in one form, with the fewest digits that are right. Nothing if the form cannot say them.
function labelsOf(ticks, form) {
  const sorted = [...ticks].sort((a, b) => a - b);
  const near = (tick) => {
    const place = sorted.indexOf(tick);
    const distances = [tick - sorted[place - 1], sorted[place + 1] - tick].filter((distance) => distance > 0);
    return Math.min(...distances, Math.abs(tick) || Infinity);
  };
  for (let digits = 0; digits <= MAX_DIGITS; digits++) {
    const texts = ticks.map((tick) => form(tick, digits));
    if (texts.some((text) => text === null)) return null;
    if (texts.every(({ value }, place) => Math.abs(value - ticks[place]) <= TOLERANCE * near(ticks[place]))) {
      return texts.map(({ text }) => text);
    }
  }
  return null;
}

function asPlain(tick, digits) {
  if (Math.abs(tick) >= 1e15) return null;
  const text = tick.toFixed(digits);
  return { value: Number(text), text: Number(text) === 0 ? "0" : text };
}

function asUnit(unit, name) {
  return (tick, digits) => {
    if (Math.abs(tick) >= 1e3 * unit) return null;
    const text = (tick / unit).toFixed(digits);
    return { value: Number(text) * unit, text: Number(text) === 0 ? "0" : text + name };
  };
}

function asPower(tick, digits) {
  const text = tick.toExponential(digits);
  return { value: Number(text), text: tick === 0 ? "0" : text.replace("e+", "e") };
}

// The texts of an axis of time, down to the unit of the distance of two ticks.
function timeLabels(ticks) {
  const distance = Math.min(...ticks.slice(1).map((tick, place) => tick - ticks[place]), Infinity);
  if (distance < 1 || !ticks.some((tick) => tick >= 60)) return tickLabels(ticks).map((text) => `${text} s`);
  const units = [[DAY, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  return ticks.map((tick) => {
    let left = Math.round(tick);
    const parts = [];
    for (const [seconds, name] of units) {
      const count = Math.floor(left / seconds);
      left -= count * seconds;
      if (count > 0) parts.push(`${count} ${name}`);
    }
    return parts.join(" ") || "0 s";
  });
}

// As wide as the longest number beside it.
function widthOfLabels(plot, labels, axis, cycle) {
  const { ticks, gap, font, _size } = plot.axes[axis];
  if (cycle > 1) return _size;
  plot.ctx.font = font[0];
  const widths = (labels ?? []).map((label) => plot.ctx.measureText(label).width / devicePixelRatio);
  return Math.ceil(Math.max(MIN_AXIS_WIDTH, ticks.size + gap + 2 + Math.max(0, ...widths)));
}

// So wide at the right that half of the last number below has room.
function roomAtRight(plot) {
  const [axis] = plot.axes;
  const label = axis._values?.at(-1);
  if (!label) return 8;
  plot.ctx.font = axis.font[0];
  return Math.max(8, Math.ceil(plot.ctx.measureText(label).width / devicePixelRatio / 2) + 2);
}

// The power of ten of which the chart draws parts. 1 for all values that it can draw as they are, and along a
// logarithmic axis for those that no power of ten brings near.
function drawnUnit(values, isLog) {
  const sizes = values.filter((value) => Number.isFinite(value) && value !== 0 && !(isLog && value < 0)).map(Math.abs);
  const [least, most] = sizes.reduce(([low, high], size) => [Math.min(low, size), Math.max(high, size)], [Infinity, 0]);
  if (most === 0 || (most >= DRAWABLE[0] && most <= DRAWABLE[1])) return 1;
  const unit = Number(`1e${Math.max(-323, Math.floor(Math.log10(most)))}`);
  return isLog && least / unit < DRAWABLE[0] ? 1 : unit;
}
