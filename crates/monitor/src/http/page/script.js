// Keeps the page fresh: fetches it anew and puts the new parts in the place of the old ones. The
// age of what is shown is always told; a page that does not come is told as loudly.
(() => {
  const every = 1000;
  const age = document.getElementById("age");
  let at = Date.now();
  async function fresh() {
    try {
      const answer = await fetch(location.pathname, { cache: "no-store" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const main = page.querySelector("main");
      if (answer.ok && main && !window.getSelection().toString()) {
        const icon = (it) => it.querySelector("link[rel=icon]");
        document.querySelector("main").replaceWith(main);
        document.title = page.title;
        if (icon(document).href !== icon(page).href) icon(document).replaceWith(icon(page));
        at = Date.now();
      }
    } catch {}
    setTimeout(fresh, document.hidden ? 10 * every : every);
  }
  setInterval(() => {
    const seconds = Math.round((Date.now() - at) / 1000);
    const text = seconds < 5 ? "live" : "no news for " + seconds + " s";
    if (age.textContent !== text) age.textContent = text;
    age.classList.toggle("stale", 5 <= seconds && !document.hidden);
  }, every);
  setTimeout(fresh, every);
})();
