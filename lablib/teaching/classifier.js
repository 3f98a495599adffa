// A table of choices: a row for each letter, a column for each kind, one radio button in each cell.
//
// Traits from the kernel: `letters`, `kinds` (value, label and words of each), `headings` (the caption,
// and what a letter stands for), `is_locked`. Both ways:
// `answers` (the value that is chosen for a letter; letters without an answer are left out).

function render({ model, el }) {
  const group = `lab-${Math.random().toString(36).slice(2)}-`;
  const root = make("div", el, { class: "lab-classes" });
  const table = make("table", root);
  const [caption, curve] = model.get("headings");
  make("caption", table, {}, caption);
  makeHeader(table, curve, model.get("kinds").map(({ label, words }) => [label, words]));
  const body = make("tbody", table), inputs = [];
  for (const letter of model.get("letters")) {
    const row = make("tr", body);
    make("th", row, { scope: "row" }, letter);
    for (const kind of model.get("kinds")) {
      const label = make("label", make("td", row));
      const input = make("input", label, {
        type: "radio", name: group + letter, value: kind.value, "aria-label": `${letter}: ${kind.label}`,
        "data-lm-suppress-shortcuts": "true", // or JupyterLab takes the arrow keys for its own
      });
      input.addEventListener("change", () => {
        model.set("answers", { ...model.get("answers"), [letter]: kind.value });
        model.save_changes();
      });
      inputs.push([letter, kind.value, input]);
    }
  }

  function follow() {
    for (const [letter, value, input] of inputs) {
      input.checked = model.get("answers")[letter] === value;
      input.disabled = model.get("is_locked");
    }
  }
  model.on("change:answers change:is_locked", follow);
  follow();
}

export default { render };
