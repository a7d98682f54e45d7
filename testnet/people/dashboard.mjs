// Looks at a peer's dashboard in a real browser. Words come in by lines on stdin, one answer in JSON goes out by line.
//
//   open URL      loads it and waits for the first picture
//   shot NAME     keeps a picture of the whole page in the folder given first
//   dark, light, phone, wide
//   ask KEY       asks the first view for a key
//   gone NAME     waits until the row of a peer is red, and tells how long that took
//   reads WORDS   waits until the page shows them to who looks at it, and tells how long that took
//   sees SELECTOR waits until the page has it
//   tab           walks through the page by keyboard
//   done          tells what the console said
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [packages, browserPath, folder] = process.argv.slice(2);
const { chromium } = createRequire(`${packages}/`)("playwright-core");
const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1360, height: 900 } });
const errors = [];
const foreign = [];
let own = "";
page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
page.on("pageerror", (error) => errors.push(String(error)));
page.on("request", (request) => request.url().startsWith(own) || foreign.push(request.url()));

const verbs = {
  async open(url) {
    own = new URL(url).origin;
    await page.goto(url);
    await page.waitForSelector("#verdict.good, #verdict.warn", { timeout: 10_000 });
    await page.waitForTimeout(3_000);
    return page.evaluate(() => ({
      sentence: document.getElementById("sentence").textContent,
      peers: document.querySelectorAll("#peer-table tbody tr.alive").length,
      shards: document.querySelectorAll("#ring .shard:not(.none)").length,
      pipelines: [...document.querySelectorAll(".pipe h3")].map((it) => it.textContent),
      streams: document.querySelectorAll("#stream-table tbody tr").length,
      rate: document.querySelector("#tile-in b").textContent,
      groups: [...document.querySelectorAll("#group-table tbody tr")].map((it) => it.textContent),
      heads: [...document.querySelectorAll("#peer-table th")].map((it) => it.textContent),
      recent: document.querySelectorAll("#recent-list li").length,
      pulse: document.getElementById("pulse").className,
      lines: [...document.querySelectorAll(".chart path")].filter((it) => (it.getAttribute("d") ?? "").includes("L")).length,
    }));
  },
  async shot(name) {
    await page.evaluate(() => [document.activeElement.blur(), scrollTo(0, 0)]);
    await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
    return { width: await page.evaluate(() => document.documentElement.scrollWidth), window: page.viewportSize().width };
  },
  dark: () => page.emulateMedia({ colorScheme: "dark" }),
  light: () => page.emulateMedia({ colorScheme: "light" }),
  phone: () => page.setViewportSize({ width: 390, height: 844 }),
  wide: () => page.setViewportSize({ width: 1360, height: 900 }),
  async ask(key) {
    await page.fill("#ask input", key);
    await page.click("#ask button");
    await page.waitForSelector("#answer p.mono", { timeout: 5_000 });
    return page.textContent("#answer");
  },
  async gone(name) {
    const began = Date.now();
    await page.waitForFunction((wanted) => {
      const rows = [...document.querySelectorAll("#peer-table tbody tr.gone")];
      return rows.some((row) => row.querySelector("a").textContent === wanted
        && getComputedStyle(row.querySelector(".dot")).backgroundColor === getComputedStyle(document.querySelector("#tile-peers.bad b")).color);
    }, name, { timeout: 10_000, polling: 20 });
    return Date.now() - began;
  },
  async reads(words) {
    const began = Date.now();
    await page.waitForFunction((wanted) => document.body.innerText.includes(wanted), words, { timeout: 30_000, polling: 20 });
    return Date.now() - began;
  },
  async sees(selector) {
    await page.waitForSelector(selector, { timeout: 30_000, state: "attached" });
    return page.locator(selector).count();
  },
  async tab() {
    const seen = [];
    await page.evaluate(() => document.activeElement.blur());
    for (let at = 0; at < 40; at += 1) {
      await page.keyboard.press("Tab");
      seen.push(await page.evaluate(() => {
        const it = document.activeElement;
        return it.id || it.name || it.textContent.trim() || it.tagName;
      }));
    }
    await page.focus("#ring svg");
    await page.keyboard.press("ArrowRight");
    return { seen, shard: await page.textContent("#shard") };
  },
  async done() {
    await browser.close();
    return { errors, foreign };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, ...rest] = line.trim().split(" ");
  try {
    console.log(JSON.stringify({ said: (await verbs[verb](rest.join(" "))) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ failed: String(error) }));
  }
  if (verb === "done") process.exit(0);
}
