/* What a reader of the page would stumble over, as a list of sentences: contrast below WCAG AA, things without a name. */
() => {
  const found = [];
  const channels = (text) => text.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const linear = (c) => ((c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = channels(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const shown = (element) => element.checkVisibility() && element.getClientRects().length > 0;

  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !shown(element)) continue;
    const style = getComputedStyle(element);
    const pair = [luminance(channels(style.color)), luminance(ground(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`contrast ${ratio.toFixed(2)}: ${element.textContent.trim().slice(0, 40)}`);
    if (size < 12) found.push(`${size}px is too small: ${element.textContent.trim().slice(0, 40)}`);
  }

  const named = (element) => {
    const ids = (element.getAttribute("aria-labelledby") || "").split(" ").filter(Boolean);
    return (element.getAttribute("aria-label") || ids.map((id) => document.getElementById(id)?.textContent ?? "").join("")).trim();
  };
  for (const element of document.querySelectorAll("section[aria-labelledby], article, table"))
    if (!named(element)) found.push(`no name: <${element.tagName.toLowerCase()} class="${element.className}">`);
  for (const element of document.querySelectorAll("a, summary"))
    if (!element.textContent.trim()) found.push(`no text: <${element.tagName.toLowerCase()}>`);
  for (const element of document.querySelectorAll("th")) if (!element.scope) found.push("a <th> without scope");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size < ids.length) found.push("an id stands twice");
  if (document.querySelectorAll("h1").length !== 1) found.push("not exactly one <h1>");
  if (!document.documentElement.lang || !document.title) found.push("no language or no title");
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) found.push(`heading ${next} follows heading ${level}: ${heading.textContent.trim().slice(0, 40)}`);
    level = next;
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push(`wider than the screen by ${document.documentElement.scrollWidth - innerWidth}px`);
  return found;
}
