// How the page writes numbers, times and sizes.

const DIGITS = 5;
const RATE_DIGITS = 4;

// A speed, with the digits that `burn-ckpt runs` gives it: four, or all before the point.
function rate(value) {
  if (!Number.isFinite(value)) return "";
  const size = Math.abs(value);
  if (size > 0 && (size < 1e-4 || size >= 1e9)) return value.toExponential(RATE_DIGITS - 1);
  const beforePoint = size > 0 ? Math.floor(Math.log10(size)) + 1 : RATE_DIGITS;
  const digits = Math.max(0, RATE_DIGITS - beforePoint);
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function number(value, digits = DIGITS) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return value.toLocaleString("en-US");
  if (size >= 1e15 || (size >= 1e6 && digits <= DIGITS) || size < 1e-3) return value.toExponential(Math.max(DIGITS - 2, digits - 2));
  // All digits before the point are right.
  return String(Number(value.toPrecision(Math.max(digits, Math.ceil(Math.log10(size))))));
}

// The digits that tell the values of a curve apart, also where they differ by little of their size.
function digitsFor(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (!(high > low)) return DIGITS;
  const differing = Math.log10(Math.max(Math.abs(low), Math.abs(high))) - Math.log10(high / 2 - low / 2);
  return Math.min(17, Math.max(DIGITS, Math.ceil(differing) + 3));
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const parts = [[Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  const first = parts.findIndex(([count]) => count > 0);
  return parts.slice(first, first + 2).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

function bytes(count) {
  if (count === null || count === undefined) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, count < 1024 ? 0 : Math.floor(Math.log2(count) / 10));
  return power === 0 ? `${count} B` : `${(count / 1024 ** power).toFixed(1)} ${units[power]}`;
}

function percent(share) {
  return share === null || share === undefined ? "" : `${(100 * share).toFixed(1)} %`;
}

function moment(timestamp) {
  return timestamp ? timestamp.replace("T", " ").replace(/\.\d+/, "").replace("Z", " UTC") : "";
}

// What a setting has as text: strings without quotes, nothing as a dash.
function setting(value) {
  if (value === null || value === undefined) return "-";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// What a setting says only with another value than this.
const USUAL = { "trainer.early_stopping": { min_delta: 0, check_finite: true } };

// A setting as the verb `runs` writes it: a table by its fields that say something, its metric first.
function settingInWords(path, value) {
  if (!isTable(value)) return setting(value);
  const said = Object.entries(value).filter(([name, field]) => field !== null && field !== USUAL[path]?.[name]);
  return said.map(([name, field]) => (name === "metric" ? setting(field) : `${name} ${setting(field)}`)).join(", ") || setting(value);
}

// A text that can be long, a panic's message say: its beginning, and the whole where the mouse rests.
const SHOWN_LETTERS = 160;

function shortened(text) {
  return text.length <= SHOWN_LETTERS ? text : make("span", { title: text }, `${text.slice(0, SHOWN_LETTERS)}..`);
}
