// Makes elements. Text is always set as text: what stands in a run's files is never read as HTML.

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// What is made when it is opened: a page of many runs has much that nobody opens.
function folded(title, content) {
  const shown = make("details", { ontoggle: () => fill(shown, content) }, make("summary", {}, title));
  return shown;
}

// Makes what a folded element shows again, if it is open.
function fill(shown, content) {
  if (shown.open) shown.replaceChildren(shown.firstChild, ...content());
}

// A table. `columns` are {title, value(row), shown(row), isNumber, isText}: texts are wrapped. With `isSortable` its headings sort it.
function table(caption, columns, rows, { isSortable = false } = {}) {
  const body = make("tbody");
  let order = { column: null, descending: false };
  const headings = columns.map((column) => make("th", { class: column.isNumber ? "number" : null, scope: "col" }, column.title));
  const fill = () => {
    const sorted = [...rows];
    if (order.column) sorted.sort((a, b) => compare(order.column.value(a), order.column.value(b), order.descending));
    body.replaceChildren(...sorted.map((row) => make("tr", {}, ...columns.map((column) => {
      const shown = column.shown ? column.shown(row) : number(column.value(row));
      return make("td", { class: column.isNumber ? "number" : column.isText ? "text" : null }, shown);
    }))));
  };
  if (isSortable) {
    columns.forEach((column, index) => {
      const heading = headings[index];
      const sort = () => {
        order = { column, descending: order.column === column && !order.descending };
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
        fill();
      };
      heading.replaceChildren(make("button", { type: "button", onclick: sort, title: "sort by this" }, column.title));
    });
  }
  fill();
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, make("table", {}, make("thead", {}, make("tr", {}, ...headings)), body));
}

// Empty values and those that are no number last, either way; numbers as numbers.
function compare(a, b, descending) {
  const isEmpty = (value) => value === null || value === undefined || value === "" || Number.isNaN(value);
  if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b);
  const areNumbers = typeof a === "number" && typeof b === "number";
  const ascending = areNumbers ? (a > b) - (a < b) : String(a).localeCompare(String(b), "en", { numeric: true });
  return descending ? -ascending : ascending;
}

function pairs(caption, entries) {
  const rows = entries.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value)));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, make("table", { class: "pairs" }, make("tbody", {}, ...rows)));
}

function command(title, text) {
  const said = make("span", { role: "status", class: "soft" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(shown);
      said.textContent = "selected: copy it with the keyboard";
    }
  };
  const shown = make("pre", {}, text);
  return make("div", {}, make("h3", {}, title), make("div", { class: "command" }, shown, make("button", { type: "button", onclick: copy, "aria-label": `copy: ${title}` }, "Copy")), said);
}
