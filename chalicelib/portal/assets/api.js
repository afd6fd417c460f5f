"use strict";
// Talks to the API. The key lives in this script alone, and in the tab's session if one asks for it.

const limits = JSON.parse(document.getElementById("limits").textContent);
const advice = JSON.parse(document.getElementById("advice").textContent);
const element = (id) => document.getElementById(id);

// What stands before the routes: a stage such as /v1, a path of the operator's own domain, or nothing.
const base = location.pathname.replace(/\/?$/, "/");

/** An answer that is no success, in the shape of RFC 9457. */
class Refusal extends Error {
  constructor(problem, wait) {
    super(problem.title);
    this.problem = problem;
    this.wait = wait; // seconds after which a new try is worth it, or null
  }
}

const session = {
  key: null,
  heard: () => {}, // called with how many units of the quota are left
};

/** Ask the API; returns its JSON, or null for an answer without. Throws Refusal. */
async function ask(method, path, { body, headers } = {}) {
  let answer;
  try {
    answer = await fetch(base + path, {
      method,
      body,
      headers: { "x-api-key": session.key, Accept: "application/json", ...headers },
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch {
    throw new Refusal({
      title: "The service cannot be reached",
      detail: "Check the connection, then try again.",
      code: "unreachable",
    });
  }
  const left = /r=(\d+)/.exec(answer.headers.get("RateLimit") ?? "");
  if (left) session.heard(Number(left[1]));
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const wait = Number(answer.headers.get("Retry-After")) || null;
  throw new Refusal(await problemOf(answer), wait);
}

async function problemOf(answer) {
  try {
    const problem = await answer.json();
    if (problem.title && problem.code) return problem;
  } catch {
    // a proxy's page, perhaps; what counts is its status
  }
  return {
    title: "The service gave no proper answer",
    detail: `It answered ${answer.status}. Please try again.`,
    code: "unreadable",
  };
}

const json = (value) => ({
  body: JSON.stringify(value),
  headers: { "Content-Type": "application/json" },
});

/** A word of our own for one request, so that sending it twice makes one study. */
const once = () => ({ "Idempotency-Key": `"${crypto.getRandomValues(new Uint32Array(4)).join("-")}"` });

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
