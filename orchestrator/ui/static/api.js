// Questions to the server. It only answers; nothing is changed by asking.

export class Problem extends Error {}

/** An address: parameters whose value is a list are repeated; those without a value are left out. */
export function address(path, parameters = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") words.append(name, one);
    }
  }
  const text = words.toString();
  return text ? `${path}?${text}` : path;
}

/** The answer as data; a `Problem` with the server's words where it refuses. */
export async function ask(path, parameters = {}, signal = undefined) {
  let answer;
  try {
    answer = await fetch(address(path, parameters), { signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server does not answer: was `landsweep ui` ended? Start it again, and reload this page.");
  }
  if (answer.status === 401 || answer.status === 403) throw new Problem(await answer.text());
  let fields;
  try {
    fields = await answer.json();
  } catch {
    throw new Problem(`The server gave no answer that can be read (${answer.status}).`);
  }
  if (!answer.ok) throw new Problem(fields.problem ?? `The server failed (${answer.status}).`);
  return fields;
}

/** The address of something of a sweep. */
export function of(id, ...rest) {
  return ["/api/sweeps", id, ...rest].map((part, i) => (i ? encodeURIComponent(part) : part)).join("/");
}

/** Calls a function now and then while the page is looked at: soon again if it says so, else later. Gives an end. */
export function poll(look, soon = 2000, later = 10000) {
  let ended = false;
  let timer;
  const turn = async () => {
    if (ended) return;
    let lively = false;
    if (!document.hidden) {
      try {
        lively = await look();
      } catch (error) {
        if (!(error instanceof Problem) && error.name !== "AbortError") throw error;
      }
    }
    if (!ended) timer = setTimeout(turn, lively ? soon : later);
  };
  timer = setTimeout(turn, soon);
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}
