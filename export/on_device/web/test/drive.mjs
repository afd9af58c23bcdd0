// Uses the page in headless Chromium as a person would, and prints what it shows as JSON.
// node drive.mjs URL PROMPT COUNT [FILE]: a model file to choose, if the URL names none

import chromium from "@sparticuz/chromium";
import puppeteer from "puppeteer-core";

const [url, prompt, count, file] = process.argv.slice(2);
const browser = await puppeteer.launch({
  args: chromium.args,
  executablePath: await chromium.executablePath(),
  headless: "shell",
});
const errors = [];
const requests = [];
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (line) => /^ERROR/.test(line.text()) && errors.push(line.text()));
  page.on("request", (request) => requests.push(request.method() + " " + request.url()));
  await page.setViewport({ width: 960, height: 680 });
  await page.goto(url);
  if (file) await (await page.$("#file")).uploadFile(file);
  await loaded(page);
  const about = await page.$eval("#status", (status) => status.textContent);
  const result = { about, errors, requests, before: await shown(page) };
  if (await page.$("#write:enabled")) Object.assign(result, await use(page));
  console.log(JSON.stringify(result));
} finally {
  await browser.close();
}

async function use(page) {
  await page.$eval(
    "#prompt",
    (field, text) => {
      field.value = text;
      field.dispatchEvent(new Event("change"));
    },
    prompt,
  );
  await ready(page);
  const before = await shown(page);
  const afterClick = await click(page, 1);
  const written = {};
  for (const [name, temperature, topK, seed] of [
    ["greedy", 0, 0, 0],
    ["sampled", 1.3, 0, -7],
    ["top_k", 0.8, 40, 3],
  ]) {
    await page.click("#clear");
    await ready(page);
    await fill(page, { temperature, "top-k": topK, seed, count: Number(count) });
    await page.click("#write");
    await ready(page);
    written[name] = await shown(page);
  }
  return { before, afterClick, written };
}

async function loaded(page) {
  await page.waitForFunction(
    () =>
      /loaded in/.test(document.querySelector("#status").textContent) ||
      document.querySelector("#status.error"),
    { timeout: 120_000 },
  );
}

function ready(page) {
  return page.waitForSelector("body[aria-busy=false]", { timeout: 60_000 });
}

async function click(page, index) {
  const buttons = await page.$$("#next button");
  await buttons[index].click();
  await ready(page);
  return shown(page);
}

function fill(page, values) {
  return page.evaluate((values) => {
    for (const [id, value] of Object.entries(values)) document.getElementById(id).value = value;
  }, values);
}

function shown(page) {
  return page.evaluate(() => ({
    text: document.querySelector("#written").textContent,
    status: document.querySelector("#status").textContent,
    candidates: Array.from(document.querySelectorAll("#next button"), (button) => ({
      id: Number(button.dataset.id),
      probability: Number(button.dataset.probability),
      text: button.textContent,
    })),
  }));
}
