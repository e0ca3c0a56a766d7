// Everything works without this file but keys, copying, and the page that follows a run.
// htmx.min.js is htmx.org 4.0.1, unchanged: smaller than 2.0.11 (37 kB, not 52), keeps no page in the browser's
// storage, and calls no eval unless an attribute holds code; none does, and the policy would refuse it.
"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  const inField = (element) => element.closest("input, select, textarea") !== null || element.isContentEditable;
  let first = "";

  const follow = (key) => {
    const link = [...document.querySelectorAll("a[data-key]")].find((one) => one.dataset.key === key);
    if (link) link.click();
    return Boolean(link);
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && event.target.id === "q") event.target.blur();
    if (inField(event.target)) return;
    if (event.key === "/" && $("#q")) {
      $("#q").focus();
      $("#q").select();
    } else if (first === "g" && "hbsd".includes(event.key)) {
      first = "";
      follow(event.key);
    } else if (event.key === "g") {
      first = "g";
      setTimeout(() => { first = ""; }, 1500);
      return;
    } else {
      first = "";
      if (!"jkr?".includes(event.key) || !follow(event.key)) return;
    }
    first = "";
    event.preventDefault();
  });

  if (navigator.clipboard) {
    for (const block of document.querySelectorAll("[data-copy]")) {
      block.tabIndex = 0;
      block.title = block.dataset.copy;
    }
  }
  const copy = (event) => {
    const block = event.target.closest("[data-copy]");
    if (!block || !navigator.clipboard || String(getSelection())) return;
    navigator.clipboard.writeText(block.textContent).then(() => {
      block.classList.add("copied");
      setTimeout(() => block.classList.remove("copied"), 1200);
    }, () => {});
  };
  document.addEventListener("click", copy);
  document.addEventListener("keydown", (event) => { if (event.key === "Enter") copy(event); });

  // The server sends finished HTML, escaped there. The stream is closed while nobody looks.
  const live = $("[data-live]");
  if (live) {
    let stream = null;
    const look = () => {
      if (document.hidden) {
        if (stream) stream.close();
        stream = null;
      } else if (!stream) {
        stream = new EventSource(live.dataset.live);
        stream.addEventListener("part", (event) => { live.innerHTML = event.data; });
      }
    };
    document.addEventListener("visibilitychange", look);
    addEventListener("pagehide", () => { if (stream) stream.close(); stream = null; });
    addEventListener("pageshow", look);
    look();
  }
})();
