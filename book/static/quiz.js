/* Makes the quiz's questions answerable: by mouse, by keyboard alone, with a screen reader, from disk without a network.
   Without this file every question and, folded, its answer can still be read. Progress stays in this browser. */
(() => {
  "use strict";

  const KEY = "cloud-scale-labs.quiz";
  const FORMAT = "cloud-scale-labs quiz progress";
  const VERSION = 1;

  /* ---- Progress: {id: {answer, right, version, when}}, in localStorage where the browser allows it. ---- */

  const isRecord = (value) =>
    value !== null && typeof value === "object" && Array.isArray(value.answer) &&
    value.answer.every((each) => typeof each === "string") && typeof value.right === "boolean" &&
    typeof value.version === "string" && !Number.isNaN(Date.parse(value.when));

  const onlyRecords = (items) =>
    Object.fromEntries(Object.entries(items ?? {}).filter(([, value]) => isRecord(value)));

  const progress = {
    items: {},
    kept: true,
    load() {
      try {
        this.items = onlyRecords(JSON.parse(localStorage.getItem(KEY) ?? "{}"));
        localStorage.setItem(KEY, JSON.stringify(this.items));
      } catch {
        this.kept = false; // refused (private windows, some browsers from disk) or unreadable: go on in memory
      }
    },
    save() {
      try {
        localStorage.setItem(KEY, JSON.stringify(this.items));
        this.kept = true;
      } catch {
        this.kept = false;
      }
    },
    merge(text) {
      const read = JSON.parse(text);
      if (read?.format !== FORMAT || read.version !== VERSION) throw new Error("not a progress file");
      const taken = Object.entries(onlyRecords(read.items)).filter(
        ([id, each]) => !this.items[id] || Date.parse(each.when) > Date.parse(this.items[id].when));
      Object.assign(this.items, Object.fromEntries(taken));
      this.save();
      return taken.length;
    },
    asText() {
      return JSON.stringify(
        { format: FORMAT, version: VERSION, exported: new Date().toISOString(), items: this.items }, null, 2);
    },
  };

  /* ---- Small helpers ---- */

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text) element.textContent = text;
    return element;
  };

  const button = (text, action, className = "quiz-button") => {
    const element = make("button", className, text);
    element.type = "button";
    element.addEventListener("click", action);
    return element;
  };

  const answers = (count) => `${count} answer${count === 1 ? "" : "s"}`;

  const copyOf = (element) => [...element.childNodes].map((node) => node.cloneNode(true));

  /** A number as people write it: 0.25, 0,25, 250,000, 1e-3 or 25%. */
  const parseNumber = (text) => {
    let plain = text.trim().replace(/[\s_$€]/g, "");
    const percent = plain.endsWith("%");
    if (percent) plain = plain.slice(0, -1);
    if (/^[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$/.test(plain)) plain = plain.replaceAll(",", "");
    else if (/^[-+]?\d*,\d+$/.test(plain)) plain = plain.replace(",", ".");
    return plain === "" ? NaN : Number(plain) / (percent ? 100 : 1);
  };

  const near = (value, other, tolerance) => Math.abs(value - Number(other)) <= Number(tolerance) * (1 + 1e-9);

  /* ---- What the kinds of questions have in common ---- */

  /** Each kind: answer() as strings, or null with nothing chosen; show(answer) puts it back;
      judge(answer) gives {right, words}; reveal(answer, right) shows reasons; clear() forgets. */
  const kinds = {};

  const choice = (form) => {
    const inputs = [...form.querySelectorAll("input")];
    const reasons = [...form.querySelectorAll(".quiz-answer li")];
    const isRight = (input) => reasons[Number(input.value)].dataset.right === "true";
    const chosen = () => inputs.filter((input) => input.checked);
    const words = (right) => {
      if (right) return "Right.";
      const missed = inputs.filter((input) => isRight(input) && !input.checked).length;
      const wrong = chosen().filter((input) => !isRight(input)).length;
      if (form.dataset.kind === "single") return "Not right. Read why, below your choice and below the right one.";
      return `Not yet. Wrongly chosen: ${wrong}; right but not chosen: ${missed}.`;
    };
    return {
      answer: () => (chosen().length ? chosen().map((input) => input.value) : null),
      show: (answer) => inputs.forEach((input) => { input.checked = answer.includes(input.value); }),
      judge: () => {
        const right = inputs.every((input) => input.checked === isRight(input));
        return { right, words: words(right) };
      },
      reveal() {
        for (const input of inputs) {
          const option = input.closest(".quiz-option");
          option.classList.add(isRight(input) ? "is-right" : "is-wrong");
          const reason = make("p", "quiz-reason");
          reason.id = `${form.id}-reason-${input.value}`;
          reason.append(...copyOf(reasons[Number(input.value)]));
          option.append(reason);
          input.setAttribute("aria-describedby", reason.id);
        }
      },
      clear() {
        for (const input of inputs) {
          input.checked = false;
          input.removeAttribute("aria-describedby");
        }
        form.querySelectorAll(".quiz-reason").forEach((each) => each.remove());
        form.querySelectorAll(".quiz-option").forEach((each) => each.classList.remove("is-right", "is-wrong"));
      },
      focus: () => inputs[0].focus(),
      nothing: "Choose an answer first.",
    };
  };
  kinds.single = choice;
  kinds.multiple = choice;

  kinds.numeric = (form) => {
    const input = form.querySelector("input");
    const details = form.querySelector(".quiz-answer");
    const right = details.querySelector("[data-answer]");
    const wrong = [...details.querySelectorAll("[data-value]")];
    return {
      answer: () => (Number.isFinite(parseNumber(input.value)) ? [input.value.trim()] : null),
      show: (answer) => { input.value = answer[0] ?? ""; },
      judge(answer) {
        const value = parseNumber(answer[0] ?? "");
        if (near(value, right.dataset.answer, right.dataset.tolerance)) {
          return { right: true, words: "Right.", reason: right.querySelector("span") };
        }
        const known = wrong.find((each) => near(value, each.dataset.value, each.dataset.tolerance));
        return { right: false, words: "Not right.", reason: known?.querySelector("span") };
      },
      reveal() {},
      clear: () => { input.value = ""; },
      focus: () => input.focus(),
      nothing: "Enter a number first, for instance 0.25 or 1,200.",
    };
  };

  kinds.ordering = (form) => {
    const list = form.querySelector(".quiz-steps");
    const start = [...list.children];
    const says = form.querySelector(".quiz-feedback");
    const place = (step) => [...list.children].indexOf(step);
    const name = () => {
      for (const step of list.children) {
        const [up, down] = step.querySelectorAll("button");
        up.setAttribute("aria-disabled", String(place(step) === 0));
        down.setAttribute("aria-disabled", String(place(step) === list.children.length - 1));
      }
    };
    const move = (step, by) => {
      const next = place(step) + by;
      if (next < 0 || next >= list.children.length) return;
      const focused = document.activeElement;
      const other = list.children[next];
      if (by < 0) list.insertBefore(step, other); else list.insertBefore(other, step);
      focused?.focus(); // moving an element in the page may take the focus from it
      name();
      says.replaceChildren(`${step.firstElementChild.textContent} is now step ${next + 1} of ${start.length}.`);
    };
    for (const step of start) {
      const moves = make("span", "quiz-moves");
      for (const [sign, by, words] of [["↑", -1, "Move up"], ["↓", 1, "Move down"]]) {
        const control = button(sign, () => move(step, by), "quiz-move");
        control.setAttribute("aria-label", `${words}: ${step.firstElementChild.textContent}`);
        moves.append(control);
      }
      step.append(moves);
    }
    name();
    return {
      answer: () => [...list.children].map((step) => step.dataset.place),
      show(answer) {
        const steps = answer.map((each) => start.find((step) => step.dataset.place === each)).filter(Boolean);
        if (steps.length === start.length) list.append(...steps);
        name();
      },
      judge(answer) {
        const there = answer.filter((each, index) => Number(each) === index).length;
        if (there === start.length) return { right: true, words: "Right.", reason: form.querySelector(".quiz-answer p > span") };
        return { right: false, words: `Not yet: ${there} of ${start.length} steps are in their place.` };
      },
      reveal() {},
      clear() { list.append(...start); name(); },
      focus: () => list.querySelector("button").focus(),
      nothing: "",
    };
  };

  /* ---- One question ---- */

  const question = (form, changed) => {
    const { id, version } = form.dataset;
    const details = form.querySelector(".quiz-answer");
    const feedback = make("div", "quiz-feedback");
    feedback.setAttribute("role", "status");
    const check = make("button", "quiz-button quiz-check", "Check");
    check.type = "submit";
    const again = button("Try again", () => { forget(); kind.focus(); });
    const actions = make("p", "quiz-actions");
    actions.append(check, again);
    details.before(actions, feedback);
    const kind = kinds[form.dataset.kind](form);

    const draw = (answer) => {
      const { right, words, reason } = kind.judge(answer);
      form.classList.toggle("answered-right", right);
      form.classList.toggle("answered-wrong", !right);
      const verdict = make("strong", "", `${right ? "✔" : "✘"} ${words}`);
      feedback.replaceChildren(verdict, ...(reason ? [" ", ...copyOf(reason)] : []));
      kind.reveal();
      details.hidden = form.dataset.kind === "single" || form.dataset.kind === "multiple";
      again.hidden = false;
      return right;
    };
    const blank = () => {
      kind.clear();
      form.classList.remove("answered-right", "answered-wrong");
      feedback.replaceChildren();
      details.open = false;
      details.hidden = true;
      again.hidden = true;
    };
    const forget = () => { blank(); delete progress.items[id]; progress.save(); changed(); };
    const restore = () => {
      blank();
      const kept = progress.items[id];
      if (kept?.version !== version) return;
      kind.show(kept.answer);
      draw(kept.answer);
    };

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const answer = kind.answer();
      if (answer === null) {
        feedback.replaceChildren(kind.nothing);
        kind.focus();
        return;
      }
      blank();
      kind.show(answer);
      const right = draw(answer);
      progress.items[id] = { answer, right, version, when: new Date().toISOString() };
      progress.save();
      changed();
    });
    return { id, version, forget, restore };
  };

  /* ---- The page: score above the questions, keeping and carrying progress below them ---- */

  const page = (blocks) => {
    const scores = blocks.map((block) => {
      const score = make("p", "quiz-score");
      block.prepend(score);
      return score;
    });
    const draw = () => blocks.forEach((block, index) => {
      const forms = [...block.querySelectorAll(".quiz-item")];
      const kept = forms.map((form) => [progress.items[form.dataset.id], form.dataset.version]);
      const valid = kept.filter(([each, version]) => each?.version === version).map(([each]) => each);
      const right = valid.filter((each) => each.right).length;
      scores[index].textContent = `${valid.length} of ${forms.length} answered, ${right} right.`;
    });
    const questions = blocks.flatMap((block) => [...block.querySelectorAll(".quiz-item")])
      .map((form) => question(form, draw));
    const restore = () => { questions.forEach((each) => each.restore()); draw(); };
    blocks.at(-1).append(tools(questions, restore));
    restore();
  };

  const tools = (questions, restore) => {
    const box = make("section", "quiz-tools");
    box.setAttribute("aria-label", "Your answers");
    const note = make("p", "quiz-note");
    note.setAttribute("role", "status");
    const where = () => progress.kept
      ? "Your answers are kept in this browser and go nowhere else."
      : "This browser does not let the page keep your answers. Export them before you leave.";
    const file = make("input");
    file.type = "file";
    file.accept = "application/json,.json";
    file.hidden = true;
    file.addEventListener("change", async () => {
      if (!file.files.length) return;
      try {
        const count = progress.merge(await file.files[0].text());
        restore();
        note.textContent = `Imported ${answers(count)}. ${where()}`;
      } catch {
        note.textContent = `${file.files[0].name} was not imported: it is not a progress file that this book exported.`;
      }
      file.value = "";
    });
    const save = () => {
      const link = make("a");
      link.href = URL.createObjectURL(new Blob([progress.asText()], { type: "application/json" }));
      link.download = "quiz-progress.json";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      note.textContent = `Exported ${answers(Object.keys(progress.items).length)} to quiz-progress.json.`;
    };
    const reset = () => {
      questions.forEach((each) => each.forget());
      note.textContent = "The questions of this page are as new.";
    };
    const actions = make("p", "quiz-actions");
    actions.append(
      button("Export answers", save), button("Import answers", () => file.click()),
      button("Forget this page's answers", reset), file);
    note.textContent = where();
    box.append(actions, note);
    return box;
  };

  progress.load();
  const blocks = [...document.querySelectorAll(".quiz")];
  if (blocks.length) {
    document.documentElement.classList.add("quiz-ready");
    page(blocks);
  }
})();
