// A table of tools and programs. Before the run each cell is a button that goes through the
// predictions; from then on it shows the result above the prediction, and chooses what is looked at.
//
// Traits from the kernel: `tools`, `programs` (name, label, choices), `words` (of each letter),
// `key` (all letters in a line), `results` (the letter of each cell that is done, by "tool|program"), `is_locked`, `progress`.
// Both ways: `predictions` (by cell, too), `selected` (a cell).

function render({ model, el }) {
  const root = make("div", el, { class: "lab-tools" });
  const table = make("table", root);
  const columns = model.get("programs").map(({ name, label }) => [name.replaceAll("_", "_\u200b"), label]);
  makeHeader(table, model.get("corner"), columns);
  const body = make("tbody", table), buttons = [];
  for (const tool of model.get("tools")) {
    const row = make("tr", body);
    make("th", row, { scope: "row" }, tool);
    for (const program of model.get("programs")) {
      const button = make("button", make("td", row), { type: "button" });
      button.addEventListener("click", () => press(`${tool}|${program.name}`, program.choices));
      buttons.push([tool, program, button]);
    }
  }
  make("p", root, {}, model.get("key"));
  const status = make("p", root, { role: "status" });

  function press(cell, choices) {
    if (model.get("is_locked")) {
      model.set("selected", cell);
    } else {
      const predictions = { ...model.get("predictions") };
      const next = choices[choices.indexOf(predictions[cell]) + 1];
      if (next === undefined) delete predictions[cell];
      else predictions[cell] = next;
      model.set("predictions", predictions);
    }
    model.save_changes();
  }

  function follow() {
    const words = model.get("words");
    const isLocked = model.get("is_locked");
    for (const [tool, program, button] of buttons) {
      const cell = `${tool}|${program.name}`;
      const said = model.get("predictions")[cell], result = model.get("results")[cell];
      const agrees = said === result ? "✓" : "✗";
      button.replaceChildren();
      make("b", button, {}, result || (isLocked ? "…" : said || "·"));
      if (isLocked && said) make("span", button, {}, result ? `${said} ${agrees}` : said);
      button.className = result ? `lab-${result}` : "";
      button.setAttribute("aria-pressed", String(model.get("selected") === cell));
      const parts = [`${tool}, ${program.name}`];
      if (result) parts.push(words[result]);
      if (said) parts.push(`${model.get("you")}: ${words[said]}`);
      button.setAttribute("aria-label", parts.join("; "));
      button.title = parts.join("\n");
    }
    status.textContent = model.get("progress");
  }
  model.on("change", follow);
  follow();
}

export default { render };
