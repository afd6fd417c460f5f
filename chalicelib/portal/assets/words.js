"use strict";
// Turns values into words and elements. Text is only ever set as text, never as markup.

/** Make an element; `parts` are texts and elements. */
function make(tag, properties = {}, ...parts) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...parts.filter((part) => part !== null && part !== undefined));
  return made;
}

const number = (value) => value.toLocaleString("en");

/** Bytes as people say them, 1,000 to the kilobyte. */
function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${number(Math.round(bytes / 1e5) / 10)} MB`;
}

const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** A time in the reader's own zone; UTC stands in the title. */
function when(text, properties = {}) {
  return make("time", { dateTime: text, title: text, ...properties }, moment.format(new Date(text)));
}

/** Two decimals, and more where two would blur on which side of the threshold a value is. */
function probability(value, threshold) {
  for (const digits of [2, 3, 4]) {
    const [a, b] = [value.toFixed(digits), threshold.toFixed(digits)];
    if (a !== b && Number(a) > 0 && Number(a) < 1) return a;
  }
  return String(value);
}

/** What went wrong, in plain words, with what to do about it. */
function explain(error) {
  const known = error instanceof Refusal;
  if (!known) console.error(error);
  const problem = known ? error.problem : { title: "This page has a defect", detail: "Please reload it." };
  const hint = advice[problem.code];
  const wait = error.wait && `It may work ${error.wait < 90 ? `in ${error.wait} s` : `from ${moment.format(Date.now() + error.wait * 1000)}`}.`;
  return make(
    "div",
    { className: "problem", "data-code": problem.code ?? "defect" },
    make("p", { className: "what" }, problem.title),
    make("p", {}, problem.detail ?? ""),
    hint ? make("p", { className: "help" }, hint) : null,
    wait ? make("p", { className: "help" }, wait) : null,
    problem.request_id ? make("p", { className: "help" }, "Request ", make("code", {}, problem.request_id)) : null,
  );
}

/** Do something; what goes wrong is told in `place`. Returns whether it went well. */
async function telling(place, action) {
  place.replaceChildren();
  try {
    await action();
    return true;
  } catch (error) {
    if (lockedOut(error)) return false;
    place.replaceChildren(explain(error));
    return false;
  }
}

function facts(list, entries) {
  list.replaceChildren(
    ...entries.filter(([, value]) => value).flatMap(([name, ...value]) => [make("dt", {}, name), make("dd", {}, ...value)]),
  );
}

/** A bar from 0 to 1 with a mark; what it shows must also stand beside it in words. */
function gauge(place, value, mark = null) {
  place.style.setProperty("--value", Math.min(1, Math.max(0, value)));
  if (mark !== null) place.style.setProperty("--mark", mark);
  return place;
}
