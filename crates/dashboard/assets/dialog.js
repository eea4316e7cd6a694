// Dialogs: what will happen, what is needed for it, and the error if it fails.

import { el, newId, setText } from "./dom.js";

/** A field of a dialog. `type` is that of an input, `textarea`, `checkbox`, or `radio` with `options`. */
function field({ name, label, type = "text", value, options, hint, placeholder, required }) {
  const id = newId(name);
  const hintId = hint ? newId("hint") : null;
  const note = hint ? el("p", { class: "hint", id: hintId }, hint) : null;
  if (type === "radio") {
    const choices = options.map((option) => {
      const choice = newId(name);
      const input = el("input", {
        type: "radio",
        name,
        id: choice,
        value: option.value,
        checked: option.value === value,
      });
      return el("div", { class: "choice" }, input, el("label", { for: choice }, option.label));
    });
    return { node: el("fieldset", {}, el("legend", {}, label), ...choices, note) };
  }
  if (type === "checkbox") {
    const input = el("input", { type, name, id, checked: value === true, "aria-describedby": hintId });
    return { node: el("div", { class: "choice" }, input, el("label", { for: id }, label), note), input };
  }
  const attributes = {
    name,
    id,
    required,
    placeholder,
    "aria-describedby": hintId,
    autocomplete: "off",
    spellcheck: "false",
  };
  let input;
  if (type === "select") {
    const choices = options.map((option) => el("option", { value: option.value }, option.label));
    input = el("select", attributes, ...choices);
    if (value !== undefined) input.value = value;
  } else {
    input = el(type === "textarea" ? "textarea" : "input", {
      ...attributes,
      ...(type === "textarea" ? { rows: 3 } : { type }),
    });
    input.value = value ?? "";
  }
  return { node: el("div", { class: "field" }, el("label", { for: id }, label), input, note), input };
}

/**
 * Opens a dialog. `text` says what will happen: strings or nodes, one paragraph each. `run` gets the values of the fields; its error is
 * shown and the dialog stays open. Resolves to the result of `run`, or undefined if it was cancelled.
 */
export function ask({ title, text = [], fields = [], confirm, danger = false, run }) {
  return new Promise((resolve) => {
    const titleId = newId("title");
    const textId = newId("text");
    const error = el("p", { class: "error", role: "alert" });
    const cancel = el("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
    const submit = el("button", { class: danger ? "danger" : "primary" }, confirm);
    const built = fields.map(field);
    const paragraphs = text.map((line) => (typeof line === "string" ? el("p", {}, line) : line));
    const form = el(
      "form",
      { method: "dialog" },
      el("h2", { id: titleId }, title),
      el("div", { id: textId, class: "dialog-text" }, ...paragraphs),
      ...built.map((one) => one.node),
      error,
      el("div", { class: "dialog-buttons" }, cancel, submit),
    );
    const dialog = el(
      "dialog",
      { "aria-labelledby": titleId, "aria-describedby": paragraphs.length ? textId : null },
      form,
    );
    const opener = document.activeElement;
    let result;

    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      setText(error, "");
      submit.disabled = true;
      try {
        result = (await run(values(form))) ?? null;
        dialog.close();
      } catch (failure) {
        setText(error, failure.message);
        submit.disabled = false;
        submit.focus();
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (opener?.isConnected) opener.focus();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
    // What is dangerous needs a step more than the return key.
    (built.find((one) => one.input)?.input ?? (danger ? cancel : submit)).focus();
  });
}

function values(form) {
  const given = {};
  for (const input of form.elements) {
    if (!input.name) continue;
    if (input.type === "checkbox") given[input.name] = input.checked;
    else if (input.type !== "radio" || input.checked) given[input.name] = input.value;
  }
  return given;
}
