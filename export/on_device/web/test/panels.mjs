// Uses the panels in headless Chromium as a person would, and prints what they show as JSON.
// node panels.mjs URL STEPS: a list in JSON of {"click": selector}, {"focus": selector}, {"key": name}, {"hover":
// [selector, x, y]} with fractions of its box, {"fill": [selector, text]}, {"wait": selector},
// {"view": {"width", "height", "scheme"}}, {"shot": path}, {"read": name}

import chromium from "@sparticuz/chromium";
import puppeteer from "puppeteer-core";

const [url, steps] = process.argv.slice(2);
const browser = await puppeteer.launch({
  args: chromium.args,
  executablePath: await chromium.executablePath(),
  headless: "shell",
});
const seen = { errors: [], requests: [], read: {} };
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on(
    "console",
    (line) =>
      /^(ERROR|error)|Refused|Content Security/.test(line.text()) && seen.errors.push(line.text()),
  );
  page.on("request", (request) => seen.requests.push(`${request.method()} ${request.url()}`));
  if (url.startsWith("file:")) await page.setOfflineMode(true);
  await page.setViewport({ width: 1280, height: 900 });
  const started = performance.now();
  await page.goto(url);
  if (!url.startsWith("http") || url.endsWith("/")) await page.waitForSelector("body[data-ready]");
  seen.milliseconds = performance.now() - started;
  for (const step of JSON.parse(steps)) await take(page, step);
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}

async function take(page, { click, focus, key, hover, fill, wait, view, shot, read }) {
  if (click) await page.click(click);
  if (focus) await page.focus(focus);
  if (key) await page.keyboard.press(key);
  if (hover) {
    const [selector, x, y] = hover;
    const node = await page.$(selector);
    await node.scrollIntoView();
    const box = await node.boundingBox();
    await page.mouse.move(box.x + x * box.width, box.y + y * box.height);
  }
  if (fill) {
    await page.$eval(
      fill[0],
      (field, text) => {
        field.value = text;
        field.dispatchEvent(new Event("input"));
        field.dispatchEvent(new Event("change"));
      },
      fill[1],
    );
  }
  if (wait) await page.waitForSelector(wait, { timeout: 60_000 });
  if (view) {
    await page.emulateMediaFeatures([
      { name: "prefers-color-scheme", value: view.scheme ?? "light" },
    ]);
    await page.setViewport({
      width: view.width,
      height: view.height,
      isMobile: view.width < 500,
      deviceScaleFactor: view.scale ?? 1,
    });
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 300)));
  }
  if (shot) await page.screenshot({ path: shot, fullPage: false });
  if (read) seen.read[read] = await page.evaluate(shown);
}

/** What the panels show. */
function shown() {
  const all = (selector, read) => Array.from(document.querySelectorAll(selector), read);
  const text = (selector) => document.querySelector(selector)?.textContent ?? null;
  const canvas = (selector) => {
    const node = document.querySelector(selector);
    const { data } = node.getContext("2d").getImageData(0, 0, node.width, node.height);
    return new Set(new Uint32Array(data.buffer)).size; // number of colours
  };
  return {
    position: Number(document.body.dataset.position),
    heading: text("#explorer .model"),
    focus: document.activeElement?.dataset.index ?? document.activeElement?.className ?? null,
    label: document.activeElement?.getAttribute("aria-label") ?? null,
    value: document.activeElement?.dataset.value ?? null,
    width: [document.documentElement.scrollWidth, document.documentElement.clientWidth],
    background: getComputedStyle(document.body).backgroundColor,
    status: text(".status"),
    prompt: document.querySelector("#prompt")?.value ?? null,
    tokens: all("#text .tokens [role=option]", (node) => ({
      text: node.textContent,
      kind: node.className,
      chosen: node.getAttribute("aria-selected") === "true",
    })),
    summary: text("#text .summary"),
    candidates: all("#candidates .bar", (node) => ({
      id: Number(node.dataset.id),
      probability: Number(node.dataset.probability),
      isTarget: node.classList.contains("target"),
      rank: Number(node.querySelector(".rank").textContent),
    })),
    attribution: all("#attribution .bars .bar", (node) => [
      Number(node.dataset.index),
      Number(node.dataset.value),
    ]),
    why: all("#attribution .choice button", (node) => [
      node.textContent,
      node.getAttribute("aria-pressed"),
    ]),
    missing: text("#attribution .empty"),
    lens: all("#lens td button", (node) => ({
      point: Number(node.dataset.point),
      position: Number(node.dataset.position),
      text: node.textContent,
    })),
    ranks: document.querySelector("#lens svg")?.getAttribute("aria-label") ?? null,
    lensDetails: text("#lens .summary"),
    looksAt: all("#attention .bars .bar", (node) => [
      Number(node.dataset.key),
      Number(node.dataset.weight),
    ]),
    head: all("#attention select", (node) => node.value),
    readout: text("#attention .summary"),
    colours: [canvas("#attention .heads"), canvas("#attention .map")],
    ablation: all("#ablation [data-head]", (node) => [
      node.dataset.head,
      Number(node.dataset.change),
    ]),
    pairs: all("#ablation .pair h3", (node) => node.textContent),
    without: all("#ablation .pair > :last-child .bar", (node) => [
      Number(node.dataset.id),
      Number(node.dataset.probability),
    ]),
    model: text("#compare output"),
    models: all("#compare tbody tr", (node) =>
      Array.from(node.children, (cell) => cell.textContent),
    ),
    busy: document.body.getAttribute("aria-busy"),
  };
}
