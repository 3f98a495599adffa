// Slides of a notebook, live in JupyterLab: one at a time, run by a key, with a recording behind each.
//
// A deck is a notebook with the metadata "lab_slides" (lablib/presenter/deck.py). All that a slide
// needs is in the page from the start, so that the keys work when the kernel, or the server, doesn't.
//
// JupyterLab loads an extension as a container of modules, which is usually built by a bundler. This
// one has a single module and imports nothing, so that it is written by hand.
"use strict";

(() => {
  const TYPED_IN = "input, textarea, select, [contenteditable=true], [role=slider]";
  const PRESSED_BY_ENTER = "button, summary, a[href]";
  const folder = document.currentScript.src.replace(/[^/]*$/, "");

  class Slides {
    constructor(app, panel, deck) {
      this.app = app;
      this.panel = panel;
      this.deck = deck;
      this.at = 0;
      this.hasRun = new Set();
      this.queue = [];
      this.buildFrame();
      panel.sessionContext.statusChanged.connect((_, status) => {
        if (status === "restarting" || status === "autorestarting") {
          this.hasRun.clear();
          this.queue = [];
          this.refresh();
        }
        this.tellKernel(status);
      });
      this.tellKernel(panel.sessionContext.kernelDisplayStatus);
      this.open();
    }

    buildFrame() {
      const node = this.panel.node;
      const part = (tag, name) => {
        const made = document.createElement(tag);
        made.className = `lab-slides-${name}`;
        node.append(made);
        return made;
      };
      this.head = part("header", "head");
      this.title = document.createElement("h2");
      this.state = document.createElement("span");
      this.state.setAttribute("role", "status");
      this.head.append(this.title, this.state);
      this.recorded = part("section", "recorded");
      this.recorded.setAttribute("aria-label", "Recording");
      this.recorded.tabIndex = -1;
      this.notes = part("aside", "notes");
      this.notes.setAttribute("aria-label", "Notes");
      this.recorded.hidden = this.notes.hidden = true;
    }

    // The top layer of the page lies above all of JupyterLab, whatever that has around a notebook.
    open() {
      this.panel.node.classList.add("lab-slides");
      this.panel.node.popover = "manual";
      this.panel.node.showPopover();
      this.show(this.at);
      this.panel.node.focus();
    }

    close() {
      this.panel.node.hidePopover();
      this.panel.node.removeAttribute("popover");
      this.panel.node.classList.remove("lab-slides");
    }

    get isOpen() {
      return this.panel.node.classList.contains("lab-slides");
    }

    show(number) {
      this.at = Math.max(0, Math.min(number, this.deck.slides.length - 1));
      const slide = this.deck.slides[this.at];
      this.title.textContent = slide.title;
      this.notes.textContent = slide.notes;
      this.recorded.hidden = true;
      this.panel.node.classList.remove("lab-slides-folded");
      this.list.scrollTop = 0;
      this.panel.content.activeCellIndex = this.indexOf(slide.cells[0]);
      this.panel.content.mode = "command";
      this.refresh();
      window.dispatchEvent(new Event("resize"));
    }

    indexOf(id) {
      return this.panel.content.widgets.findIndex((cell) => cell.model.id === id);
    }

    tellKernel(status) {
      this.kernel = status;
      this.tellPlace();
    }

    tellPlace() {
      const place = `${this.at + 1} / ${this.deck.slides.length}`;
      const isBusy = this.kernel === "busy" || this.queue.length > 0;
      this.state.textContent = isBusy ? `running · ${place}` : place;
    }

    // Runs the next cell of the slide, and before it what earlier slides should have run.
    runNext() {
      const slide = this.deck.slides[this.at];
      const isDue = (id) => !this.hasRun.has(id) && !this.queue.includes(id);
      const next = slide.cells.find(isDue);
      if (!next) return;
      const order = this.deck.slides.slice(0, this.at + 1).flatMap((each) => each.runs);
      const isLast = next === slide.cells.at(-1);
      const until = isLast ? order : order.slice(0, order.indexOf(next) + 1);
      this.enqueue(until.filter(isDue));
    }

    runAgain() {
      this.enqueue(this.deck.slides[this.at].runs.filter((id) => !this.queue.includes(id)));
    }

    enqueue(ids) {
      const isRunning = this.queue.length > 0;
      this.queue.push(...ids);
      this.refresh();
      if (!isRunning) this.runQueue();
    }

    async runQueue() {
      await this.panel.sessionContext.ready; // a cell that runs without a kernel is done at once
      while (this.queue.length) {
        const id = this.queue[0];
        if (await this.runCell(id)) {
          this.queue.shift();
        } else {
          this.hasRun.delete(id);
          this.queue = [];
        }
        this.refresh();
        this.fold();
      }
    }

    // JupyterLab scrolls to the code of a cell that it runs: on a slide what it changes counts more.
    runCell(id) {
      const { content } = this.panel;
      this.hasRun.add(id);
      this.refresh();
      this.fold();
      const top = this.list.scrollTop;
      content.activeCellIndex = this.indexOf(id);
      content.deselectAll();
      const isRight = this.app.commands.execute("notebook:run-cell");
      requestAnimationFrame(() => { this.list.scrollTop = top; });
      return isRight;
    }

    // Cells that have run, and the next one.
    refresh() {
      const { cells } = this.deck.slides[this.at];
      const next = cells.findIndex((id) => !this.hasRun.has(id));
      const shown = new Set(next < 0 ? cells : cells.slice(0, next + 1));
      for (const cell of this.panel.content.widgets) {
        cell.node.classList.toggle("lab-slides-shown", shown.has(cell.model.id));
        cell.node.classList.toggle("lab-slides-ran", this.hasRun.has(cell.model.id));
      }
      this.tellPlace();
    }

    // What comes out of a slide counts more than its code, where the window can't hold both.
    fold() {
      const shown = [...this.list.querySelectorAll(".lab-slides-shown")];
      const edge = this.list.getBoundingClientRect().bottom;
      const isOver = (cell) => cell.getBoundingClientRect().bottom > edge;
      if (shown.some(isOver)) this.panel.node.classList.add("lab-slides-folded");
      shown.findLast((cell) => cell.matches(".lab-slides-ran") && cell.offsetHeight > 30)
        ?.scrollIntoView({ block: "nearest" });
    }

    get list() {
      return this.panel.content.outerNode ?? this.panel.content.node;
    }

    toggleRecording() {
      if (this.recorded.hidden) {
        const label = document.createElement("p");
        label.className = "lab-slides-label";
        label.textContent = this.deck.label;
        const content = document.createElement("div");
        content.innerHTML = this.deck.slides[this.at].recorded;
        this.recorded.replaceChildren(label, content);
        this.recorded.scrollTop = 0;
      }
      this.recorded.hidden = !this.recorded.hidden;
      (this.recorded.hidden ? this.panel.node : this.recorded).focus();
    }

    // True where a key was for the slides. Remote controls send PageDown and PageUp.
    press(event) {
      const isTyping = event.target.closest?.(TYPED_IN);
      const isPaging = event.key === "PageDown" || event.key === "PageUp";
      if (event.ctrlKey || event.altKey || event.metaKey || (isTyping && !isPaging)) return false;
      if (event.key === "Enter" && event.target.closest?.(PRESSED_BY_ENTER)) return false;
      const actions = {
        ArrowRight: () => this.show(this.at + 1),
        PageDown: () => this.show(this.at + 1),
        ArrowLeft: () => this.show(this.at - 1),
        PageUp: () => this.show(this.at - 1),
        Enter: () => (event.shiftKey ? this.runAgain() : this.runNext()),
        r: () => this.toggleRecording(),
        n: () => { this.notes.hidden = !this.notes.hidden; },
        c: () => this.panel.node.classList.toggle("lab-slides-folded"),
        Escape: () => this.close(),
      };
      const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!action) return false;
      action();
      return true;
    }
  }

  function activate(app) {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = `${folder}slides.css`;
    document.head.append(style);
    const decks = new WeakMap();

    const look = async () => {
      const panel = app.shell.currentWidget;
      if (!panel?.content?.widgets || !panel.sessionContext || decks.has(panel)) return;
      decks.set(panel, null);
      await panel.context.ready;
      const deck = panel.content.model.getMetadata("lab_slides");
      if (deck) decks.set(panel, new Slides(app, panel, deck));
    };
    app.shell.currentChanged?.connect(look);
    app.restored.then(look);

    // Before JupyterLab's own keys; on a slide that is open only.
    window.addEventListener(
      "keydown",
      (event) => {
        const slides = decks.get(app.shell.currentWidget);
        if (!slides) return;
        if (!slides.isOpen) {
          if (event.key === "F5" && !event.ctrlKey) {
            slides.open();
            event.preventDefault();
          }
          return;
        }
        if (slides.press(event)) {
          event.preventDefault();
          event.stopImmediatePropagation();
        }
      },
      true,
    );
  }

  const plugin = { id: "lab-slides:plugin", autoStart: true, activate };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["lab-slides"] = {
    init: () => {},
    get: async () => () => ({ __esModule: true, default: plugin }),
  };
})();
