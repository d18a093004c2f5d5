// The sandbox without this script reloads its page for every deed. With it only the content changes, what is new is
// announced, and the focus goes where the news are. It changes nothing else, and sends nothing that a form would not send.
"use strict";

const news = document.getElementById("news");

function announce(main) {
  const text = main.dataset.news || "";
  news.textContent = "";
  // A live region speaks when its content changes after a moment, not when it comes with the page.
  if (text) setTimeout(() => { news.textContent = text; }, 100);
  const place = main.dataset.look && document.getElementById(main.dataset.look);
  if (place) {
    place.focus({ preventScroll: true });
    place.scrollIntoView({ block: "nearest" });
  }
}

function prepare(root) {
  for (const button of root.querySelectorAll("[data-copies]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
}

async function copy(button) {
  const field = document.getElementById(button.dataset.copies);
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C to copy";
  }
}

async function send(form, submitter) {
  const body = new URLSearchParams(new FormData(form, submitter));
  const answer = await fetch(form.action, { method: "POST", body, credentials: "same-origin" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const main = page.getElementById("main");
  if (!answer.ok || !main || new URL(answer.url).pathname !== location.pathname) {
    location.assign(answer.url);
    return;
  }
  document.getElementById("main").replaceWith(main);
  document.title = page.title;
  prepare(main);
  announce(main);
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || "leaves" in form.dataset || !document.querySelector(".screen")) return;
  event.preventDefault();
  document.getElementById("main").setAttribute("aria-busy", "true");
  send(form, event.submitter).catch(() => { location.reload(); });
});

prepare(document);
announce(document.getElementById("main"));
