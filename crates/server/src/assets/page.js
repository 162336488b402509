// Brings an open page up to date: the server sends the parts that changed, by the id of their element.
// Without this script the page is the same after a reload.
"use strict";

const WAIT_FIRST_MS = 500;
const WAIT_LONGEST_MS = 10000;

function showMoments(root) {
  for (const moment of root.querySelectorAll("time[data-moment]")) {
    const at = new Date(moment.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const today = at.toDateString() === new Date().toDateString();
    moment.textContent = today ? at.toLocaleTimeString() : at.toLocaleString();
    moment.title = moment.dateTime;
    delete moment.dataset.moment;
  }
}

function replace(id, html) {
  const old = document.getElementById(id);
  if (!old) return;
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const fresh = holder.content.firstElementChild;
  showMoments(fresh);
  // What says something else is announced by the browser; where the reader is stays as it is.
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const places = focused ? [...old.querySelectorAll("a, button, [tabindex]")] : [];
  const scrolled = [...old.querySelectorAll(".scroll, .log")].map((each) => [each.scrollLeft, each.scrollTop]);
  old.replaceChildren(...fresh.childNodes);
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  old.querySelectorAll(".scroll, .log").forEach((each, index) => {
    if (scrolled[index]) [each.scrollLeft, each.scrollTop] = scrolled[index];
  });
  if (focused) old.querySelectorAll("a, button, [tabindex]")[places.indexOf(focused)]?.focus({ preventScroll: true });
}

function listen(address, wait) {
  const lost = document.querySelector("[data-connection]");
  const source = new EventSource(address);
  let isOpen = false;
  source.onopen = () => {
    isOpen = true;
    lost.hidden = true;
  };
  source.onmessage = (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) replace(id, html);
  };
  source.onerror = () => {
    lost.hidden = false;
    source.close();
    const next = isOpen ? WAIT_FIRST_MS : Math.min(wait * 2, WAIT_LONGEST_MS);
    setTimeout(() => listen(address, next), next);
  };
  window.addEventListener("pagehide", () => source.close(), { once: true });
}

showMoments(document);
const main = document.querySelector("main[data-events]");
if (main) listen(main.dataset.events, WAIT_FIRST_MS);
