// Slides of a notebook, live in JupyterLab: one at a time, run by a key, with a recording behind each.
//
// A deck is a notebook with the metadata "lab_slides" (lablib/presenter/deck.py). All that a slide
// needs is in the page from the start, so that the keys work when the kernel, or the server, doesn't.
//
// Cells that the deck calls "ahead" run before they are asked for, as soon as all before them have run:
// what takes long is done while the class still votes. What they put out is hidden until then.
//
// JupyterLab loads an extension as a container of modules, which is usually built by a bundler. This
// one has a single module and imports nothing, so that it is written by hand.
"use strict";

(() => {
  const TYPED_IN = "input, textarea, select, [contenteditable=true], [role=slider]";
  const PRESSED_BY_ENTER = "button, summary, a[href]";
  const folder = document.currentScript.src.replace(/[^/]*$/, "");

  class Slides {
    constructor(panel, deck) {
      this.panel = panel;
      this.deck = deck;
      this.at = 0;
      this.order = deck.slides.flatMap((slide) => slide.runs);
      this.hasRun = new Set();
      this.asked = new Set();
      this.queue = [];
      this.isRunning = false;
      this.secondsLeft = 0;
      this.buildFrame();
      panel.sessionContext.statusChanged.connect((_, status) => {
        if (status === "restarting" || status === "autorestarting") {
          this.hasRun.clear();
          this.asked.clear();
          this.queue = [];
          this.refresh();
        }
        this.tellKernel(status);
      });
      this.tellKernel(panel.sessionContext.kernelDisplayStatus);
      this.open();
      this.enqueue([]);
    }

    buildFrame() {
      const { node } = this.panel;
      node.lang = this.deck.tag;
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
      this.recorded.setAttribute("aria-label", this.deck.words.recording);
      this.recorded.tabIndex = -1;
      this.notes = part("aside", "notes");
      this.notes.setAttribute("aria-label", this.deck.words.notes);
      this.said = document.createElement("p");
      const keys = document.createElement("small");
      keys.textContent = this.deck.words.keys;
      this.notes.append(this.said, keys);
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
      this.said.textContent = slide.notes;
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
      const { words, slides } = this.deck;
      const parts = [`${this.at + 1} / ${slides.length}`];
      if (this.secondsLeft > 0) parts.unshift(words.left.replace("{seconds}", this.secondsLeft));
      if (this.queue.some((id) => this.asked.has(id))) parts.unshift(words.running);
      else if (this.queue.length > 0) parts.unshift(words.ahead);
      else if (this.kernel === "busy") parts.unshift(words.running);
      this.state.textContent = parts.join(" · ");
    }

    isDue(id) {
      return !this.hasRun.has(id) && !this.queue.includes(id);
    }

    // Shows the next cell of the slide, and runs it and what earlier slides should have run.
    runNext() {
      const { cells, runs } = this.deck.slides[this.at];
      const next = cells.find((id) => !this.asked.has(id) || this.isDue(id));
      if (!next) return;
      const end = this.order.indexOf(next === cells.at(-1) ? runs.at(-1) : next) + 1;
      const until = this.order.slice(0, end);
      for (const id of until) this.asked.add(id);
      this.enqueue(until.filter((id) => this.isDue(id)));
      this.fold();
    }

    runAgain() {
      const { runs } = this.deck.slides[this.at];
      for (const id of runs) this.asked.add(id);
      this.enqueue(runs.filter((id) => !this.queue.includes(id)));
    }

    enqueue(ids) {
      this.queue.push(...ids);
      this.refresh();
      if (!this.isRunning) this.runQueue();
    }

    async runQueue() {
      this.isRunning = true;
      await this.panel.sessionContext.ready; // a cell that runs without a kernel is done at once
      for (let id = this.takeNext(); id; id = this.takeNext()) {
        if (!(await this.runCell(id))) {
          // Its error stays to be seen, and Enter tries it again.
          this.hasRun.delete(id);
          for (const lost of this.queue.slice(1)) this.asked.delete(lost);
          break;
        }
        this.queue.shift();
        this.refresh();
        this.fold();
      }
      this.queue = [];
      this.isRunning = false;
      this.refresh();
    }

    // The cell that runs now: one that was asked for, or one that may run ahead.
    takeNext() {
      if (!this.queue.length) {
        const next = this.order.find((id) => !this.hasRun.has(id));
        if (this.deck.ahead.includes(next)) this.queue.push(next);
      }
      return this.queue[0];
    }

    // Not by JupyterLab's command: it moves the focus, which may be in a field that is typed in.
    async runCell(id) {
      const { outputArea, model } = this.panel.content.widgets[this.indexOf(id)];
      const { kernel } = this.panel.sessionContext.session ?? {};
      if (!kernel) return false;
      this.hasRun.add(id);
      this.refresh();
      this.fold();
      const stopCount = this.countDown(this.deck.waits_s[id] ?? 0);
      try {
        const code = model.sharedModel.getSource();
        model.trusted = true;
        outputArea.future = kernel.requestExecute({ code }, false, { cellId: id });
        return (await outputArea.future.done).content.status === "ok";
      } catch {
        return false; // the kernel has gone
      } finally {
        stopCount();
      }
    }

    countDown(seconds) {
      const tell = (left) => {
        this.secondsLeft = left;
        this.tellPlace();
      };
      tell(seconds);
      const timer = setInterval(() => tell(Math.max(0, this.secondsLeft - 1)), 1000);
      return () => {
        clearInterval(timer);
        tell(0);
      };
    }

    // Cells that were asked for, and the next one.
    refresh() {
      const { cells } = this.deck.slides[this.at];
      const next = cells.findIndex((id) => !this.asked.has(id));
      const shown = new Set(next < 0 ? cells : cells.slice(0, next + 1));
      for (const { node, model: { id } } of this.panel.content.widgets) {
        node.classList.toggle("lab-slides-shown", shown.has(id));
        node.classList.toggle("lab-slides-asked", this.asked.has(id));
        node.classList.toggle("lab-slides-ran", this.asked.has(id) && this.hasRun.has(id));
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
        label.textContent = this.deck.words.label;
        const content = document.createElement("div");
        content.innerHTML = this.deck.slides[this.at].recorded;
        this.recorded.replaceChildren(label, content);
        this.recorded.scrollTop = 0;
      }
      this.recorded.hidden = !this.recorded.hidden;
      const isOver = this.recorded.scrollHeight > this.recorded.clientHeight;
      if (isOver) this.panel.node.classList.add("lab-slides-folded");
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
      if (deck) decks.set(panel, new Slides(panel, deck));
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
