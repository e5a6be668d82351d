// Brings the part of the page that lives up to date. Without it pages are whole, and reload themselves.
"use strict";

(() => {
  const EVERY_MS = 1500;
  const lost = document.getElementById("lost");

  // Makes one node like another, in place: what has the focus, is selected, open or scrolled stays so.
  function become(old, wanted) {
    if (old.nodeType !== wanted.nodeType || old.nodeName !== wanted.nodeName) {
      old.replaceWith(wanted.cloneNode(true));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== wanted.data) old.data = wanted.data;
      return;
    }
    if (old.isEqualNode(wanted)) return;
    for (const { name } of [...old.attributes]) {
      if (!wanted.hasAttribute(name) && !(old.nodeName === "DETAILS" && name === "open")) old.removeAttribute(name);
    }
    for (const { name, value } of wanted.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const olds = [...old.childNodes], wanteds = [...wanted.childNodes];
    wanteds.forEach((child, at) => (at < olds.length ? become(olds[at], child) : old.append(child.cloneNode(true))));
    olds.slice(wanteds.length).forEach((child) => child.remove());
  }

  async function refresh() {
    const main = document.querySelector("main[data-live]");
    if (!main || document.hidden) return;
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(5000) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const wanted = page.querySelector("main");
      if (wanted) become(main, wanted);
      const foot = page.querySelector("footer");
      if (foot) become(document.querySelector("footer"), foot);
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    }
  }

  async function live() {
    await refresh();
    setTimeout(live, EVERY_MS);
  }
  setTimeout(live, EVERY_MS);
  document.addEventListener("visibilitychange", refresh);

  // A region that is chosen is gone to; the button is for those without this script.
  const region = document.getElementById("region");
  region?.addEventListener("change", () => region.form.submit());
  region?.form.querySelector("button").setAttribute("hidden", "");
  // On a phone the names of pages are wider than the screen.
  const nav = document.querySelector("nav"), here = nav?.querySelector("[aria-current]");
  if (here) nav.scrollLeft = here.offsetLeft - nav.offsetLeft - (nav.clientWidth - here.clientWidth) / 2;
})();
