// What the tables of choices have in common; scripts.py puts it before each of them.

function make(tag, parent, attributes = {}, text = "") {
  const element = parent.appendChild(document.createElement(tag));
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  return element;
}

// A first row: `corner` above the rows' names, and for each column its name with words below it.
function makeHeader(table, corner, columns) {
  const row = make("tr", make("thead", table));
  make("th", row, { scope: "col" }, corner);
  for (const [name, words] of columns) {
    const cell = make("th", row, { scope: "col" }, name);
    make("span", cell, {}, words);
  }
}
