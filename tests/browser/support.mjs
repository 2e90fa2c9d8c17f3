// A bank of two branches and a browser: what every test of the pages begins with.
//
// mumbai has three replicas and delhi one; each reaches the other. The browser may ask nobody but this machine.
import { spawn, execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const run = promisify(execFile);
const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const programs = process.env.BANK_BIN_DIR ?? join(root, "target", "debug");
export const images = join(root, "src", "docs", "images");

/** The machine may be busy: how long anything may take, in milliseconds. */
export const PATIENCE = 30_000;

async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, () => new Promise((done, failed) => {
      const server = createServer().listen(0, "127.0.0.1", () => done(server));
      server.on("error", failed);
    })),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

function start(args) {
  const child = spawn(join(programs, "bank-server"), args, { stdio: ["ignore", "pipe", "inherit"], env: { PATH: process.env.PATH } });
  const ready = new Promise((done, failed) => {
    createInterface({ input: child.stdout }).once("line", done);
    child.once("exit", (code) => failed(new Error(`bank-server ended with ${code}`)));
  });
  return { child, ready };
}

function stop({ child }) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once("exit", done));
  child.kill("SIGKILL");
  return ended;
}

export class Bank {
  static async open() {
    const [one, two, three, other] = await freePorts(4);
    const bank = new Bank();
    const at = (port) => `127.0.0.1:${port}`;
    const mumbai = [one, two, three].map(at);
    const peers = mumbai.map((address, place) => `${place + 1}=${address}`).join(",");
    bank.mumbai = [one, two, three].map((port, place) =>
      start(["--branch", "mumbai", "--host", "127.0.0.1", "--port", String(port), "--threads", "1", "--lab", "--replica", String(place + 1),
        "--peers", peers, "--ephemeral", "--route", `delhi=${at(other)}`]));
    bank.delhiArgs = ["--branch", "delhi", "--host", "127.0.0.1", "--port", String(other), "--threads", "1", "--route", `mumbai=${mumbai.join(",")}`];
    bank.delhi = start(bank.delhiArgs);
    bank.address = mumbai[0];
    bank.delhiAddress = at(other);
    bank.url = `http://${mumbai[0]}`;
    await Promise.all([...bank.mumbai, bank.delhi].map((server) => server.ready));
    await bank.until(async () => (await fetch(`${bank.url}/readyz`)).ok);
    return bank;
  }

  /** Waits until something is so. */
  async until(check) {
    const end = Date.now() + PATIENCE;
    for (;;) {
      try {
        if (await check()) return;
      } catch (error) {
        if (Date.now() > end) throw error;
      }
      if (Date.now() > end) throw new Error(`was not so within ${PATIENCE} ms: ${check}`);
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  /** Runs `bank-client` at the branch of the account and returns what it said, as JSON. */
  async client(command, account, ...args) {
    const server = account.startsWith("delhi/") ? this.delhiAddress : this.address;
    const { stdout } = await run(join(programs, "bank-client"), ["--server", server, "-o", "json", command, account, ...args], { env: { PATH: process.env.PATH } });
    return JSON.parse(stdout);
  }

  /** Asks over HTTP. */
  async http(method, path, body, headers = {}) {
    const response = await fetch(this.url + path, {
      method,
      headers: { "Content-Type": "application/json", ...headers },
      body: body && JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw Object.assign(new Error(answer.detail), { answer });
    return answer;
  }

  async open(branch, fields) {
    const { account } = await this.http("POST", `/v1/accounts?branch=${branch}`, fields);
    return account;
  }

  balance(account) {
    return this.http("GET", `/v1/accounts/${encodeURIComponent(account)}`).then((shown) => shown.account.balance);
  }

  entries(account) {
    return this.http("GET", `/v1/accounts/${encodeURIComponent(account)}/entries`).then((page) => page.entries);
  }

  async stopDelhi() {
    await stop(this.delhi);
  }

  async close() {
    await Promise.all([...this.mumbai, this.delhi].map(stop));
  }
}

export class Browser {
  static async open() {
    const executablePath = [process.env.BANK_CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
      .find((path) => path && existsSync(path));
    if (!executablePath) throw new Error("no Chromium: install the package chromium, or name one with BANK_CHROMIUM");
    const browser = new Browser();
    browser.profile = await mkdtemp(join(tmpdir(), "bank-browser-"));
    browser.context = await chromium.launchPersistentContext(browser.profile, {
      executablePath,
      headless: true,
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync"],
    });
    browser.context.setDefaultTimeout(PATIENCE);
    /** Everything that was asked for elsewhere, and everything that went wrong in a page. */
    browser.foreign = [];
    browser.errors = [];
    /** Addresses whose answers a test loses on purpose. */
    browser.broken = new Set();
    /** Origins whose server a test stops on purpose. */
    browser.gone = new Set();
    browser.context.on("request", (request) => {
      const { protocol, hostname } = new URL(request.url());
      if (["http:", "https:", "ws:", "wss:"].includes(protocol) && hostname !== "127.0.0.1") browser.foreign.push(request.url());
    });
    return browser;
  }

  async page(url, { scheme = "light", width = 1280, height = 900 } = {}) {
    const page = await this.context.newPage();
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width, height });
    page.on("pageerror", (error) => this.errors.push(`${url}: ${error.message}`));
    page.on("console", (message) => {
      // A refusal of the bank is an answer, and the browser writes each into its console.
      const refused = message.text().includes("the server responded with a status of 4");
      const address = message.location().url;
      const expected = refused || this.broken.has(address) || [...this.gone].some((origin) => address.startsWith(origin));
      if (message.type() === "error" && !expected) this.errors.push(`${url}: ${message.text()}`);
    });
    await page.goto(url);
    return page;
  }

  async close() {
    await this.context.close();
    await rm(this.profile, { recursive: true, force: true });
  }
}

/** A page that is live: its stream is open. */
export async function live(page) {
  await page.locator('#link[data-state="live"]').waitFor();
}
