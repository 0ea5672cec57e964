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
  // What changes something is for who has the API key: asked for once, kept until the tab closes.
  document.addEventListener("click", async (event) => {
    const name = event.target.dataset?.test;
    if (!name) return;
    const key = sessionStorage.getItem("key") ?? prompt("The API key (admin.key):");
    if (!key) return;
    const path = "/v1/channels/" + encodeURIComponent(name) + "/test";
    const headers = { authorization: "Bearer " + key.trim() };
    try {
      const answer = await fetch(path, { method: "POST", headers });
      if (answer.ok) sessionStorage.setItem("key", key);
      if (answer.status === 401) sessionStorage.removeItem("key");
      event.target.textContent = answer.ok ? "on its way" : "refused: " + answer.status;
    } catch {
      event.target.textContent = "no answer";
    }
  });
  setTimeout(fresh, every);
})();
