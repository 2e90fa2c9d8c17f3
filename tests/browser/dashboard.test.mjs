// The dashboard as people use it, in a real browser against real servers.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { Bank, Browser, live } from "./support.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** A name that would do harm if a page took it for markup. */
const NASTY = `<img src=x onerror="document.title='harmed'">`;

let bank;
let browser;
let asha;
let nasty;
let chandra;
let transfer;

before(async () => {
  bank = await Bank.open();
  browser = await Browser.open();
  asha = await bank.open("mumbai", { name: "Asha Rao", deposit: "2500.00", overdraftLimit: "500.00" });
  nasty = await bank.open("mumbai", { name: NASTY, deposit: "1184250.75" });
  chandra = await bank.open("delhi", { name: "Chandra Iyer", deposit: "910.10" });
  for (const amount of ["1250.00", "33.10", "7.77"]) await bank.client("deposit", asha, amount);
  await bank.client("withdraw", asha, "1200");
  ({ transfer } = await bank.client("transfer", asha, chandra, "75.50"));
  await bank.http("POST", `/v1/accounts/${encodeURIComponent(asha)}/holds`, { amount: "60.00" });
  await bank.client("withdraw", chandra, "99999").catch(() => {});
});

// A browser opens six connections to one server and no more, and each page holds one.
afterEach(async () => {
  for (const page of browser.context.pages()) await page.close();
});

after(async () => {
  await browser?.close();
  await bank?.close();
});

function screens() {
  return {
    overview: ["/", "2,515"],
    accounts: ["/accounts", "Asha Rao"],
    account: [`/accounts/${asha}`, "2,515.37"],
    transfers: ["/transfers", transfer],
    transfer: [`/transfers/${transfer.replace(":", "/")}`, "Commit: the money arrives"],
    operations: ["/operations", "Insufficient funds"],
    cluster: ["/cluster", "Who reaches whom"],
    scenarios: ["/scenarios", "choose a file"],
  };
}

describe("every page", () => {
  for (const name of ["overview", "accounts", "account", "transfers", "transfer", "operations", "cluster", "scenarios"]) {
    test(`${name} renders its data, without a violation of the axe rules, light, dark and narrow`, async () => {
      const [path, expected] = screens()[name];
      for (const options of [{}, { scheme: "dark" }, { width: 360, height: 760 }]) {
        const page = await browser.page(bank.url + path, options);
        await live(page);
        const main = page.locator("main");
        // The overview shows the sum of all branches, which moves while others write.
        if (name !== "overview") await main.getByText(expected).first().waitFor({ state: "attached" });
        await page.locator("main .empty", { hasText: "moment" }).waitFor({ state: "detached" });
        const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(wider <= 0, `${name} is ${wider} pixels wider than its window at ${options.width ?? 1280}`);
        // Evaluated by the debugger, which the page's own policy does not concern.
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
        assert.deepEqual(violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`), [], `${name} ${JSON.stringify(options)}`);
        await page.close();
      }
    });
  }

  test("every button can be read under the pointer, light and dark", async () => {
    const names = ["accounts", "account", "operations", "scenarios"];
    for (const [name, scheme] of names.flatMap((name) => [[name, "light"], [name, "dark"]])) {
      const page = await browser.page(bank.url + screens()[name][0], { scheme });
      await live(page);
      await page.evaluate(axe);
      for (const button of await page.locator("button:visible, a.button:visible").all()) {
        await button.hover();
        const { violations } = await page.evaluate((node) => globalThis.axe.run(node, { runOnly: ["color-contrast"] }), await button.elementHandle());
        assert.deepEqual(violations.flatMap((one) => one.nodes.map((node) => node.failureSummary)), [], `${name} ${scheme}: ${await button.textContent()}`);
      }
      await page.close();
    }
  });

  test("what does not exist is a page with the status 404", async () => {
    for (const path of ["/nothing/here", "/accounts/mumbai/999999", "/accounts/goa/1", "/transfers/mumbai/999999"]) {
      const page = await browser.context.newPage();
      const response = await page.goto(bank.url + path);
      assert.equal(response.status(), 404, path);
      assert.match(response.headers()["content-type"], /^text\/html/, path);
      await page.getByRole("navigation", { name: "Main" }).waitFor();
      await page.close();
    }
  });

  test("reads without a script", async () => {
    for (const [path, expected] of Object.values(screens())) {
      const html = await (await fetch(bank.url + path)).text();
      if (path !== "/" && path !== "/scenarios") assert.ok(html.includes(expected), `${path} has ${expected}`);
      assert.ok(!/<script(?![^>]*\bsrc=)/.test(html) && !/\son\w+=/.test(html.replace(/&lt;.*?&gt;/g, "")) && !/\sstyle=/.test(html), `${path} has nothing inline`);
    }
  });
});

describe("live", () => {
  test("a deposit of another program appears without a reload", async () => {
    const page = await browser.page(`${bank.url}/accounts/${asha}`);
    await live(page);
    await page.evaluate(() => (globalThis.sameDocument = true));
    await bank.client("deposit", asha, "0.63");
    await page.locator("#account .figure", { hasText: "2,516.00" }).waitFor();
    await page.locator("#statement", { hasText: "+0.63" }).waitFor();
    await page.locator("#replicas tbody tr", { hasText: "2,516.00" }).nth(2).waitFor();
    assert.equal(await page.evaluate(() => globalThis.sameDocument), true);
  });

  test("what is typed into a form stays while the page changes around it", async () => {
    const page = await browser.page(`${bank.url}/accounts/${asha}`);
    await live(page);
    await page.locator("#deposit-amount").fill("12.3");
    await bank.client("deposit", asha, "1.00");
    await page.locator("#account .figure", { hasText: "2,517.00" }).waitFor();
    assert.equal(await page.locator("#deposit-amount").inputValue(), "12.3");
    assert.equal(await page.evaluate(() => document.activeElement.id), "deposit-amount");
  });

  test("the feed shows what passes its filter, pauses, goes on and clears only the view", async () => {
    const page = await browser.page(`${bank.url}/operations?account=${encodeURIComponent(chandra)}&kind=DEPOSIT`);
    await live(page);
    const rows = page.locator("[data-feed-rows] tr");
    await bank.client("deposit", chandra, "1.11");
    await rows.filter({ hasText: "1.11" }).waitFor();
    await bank.client("withdraw", chandra, "2.22");
    await page.locator("[data-pause]").click();
    await bank.client("deposit", chandra, "3.33");
    await page.locator("[data-feed-note]", { hasText: "1 came since you paused" }).waitFor();
    assert.equal(await rows.filter({ hasText: "3.33" }).count(), 0);
    await page.locator("[data-pause]").click();
    await rows.filter({ hasText: "3.33" }).waitFor();
    assert.equal(await rows.filter({ hasText: "2.22" }).count(), 0, "a withdrawal is not wanted");
    await page.locator("[data-clear]").click();
    assert.equal(await rows.count(), 0);
    await page.reload();
    await rows.filter({ hasText: "3.33" }).waitFor();
  });

  test("two thousand operations in a moment leave the page small and responsive", async () => {
    const page = await browser.page(`${bank.url}/operations`);
    await live(page);
    const busy = await bank.open("mumbai", { name: "Busy" });
    const number = Number(busy.split("/")[1]);
    // The longest time between two frames says how long the page was stuck.
    await page.evaluate(() => {
      globalThis.longest = 0;
      let last = performance.now();
      const frame = (now) => {
        globalThis.longest = Math.max(globalThis.longest, now - last);
        last = now;
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    });
    const writers = Array.from({ length: 8 }, async () => {
      for (let done = 0; done < 250; done++) await bank.http("POST", `/v1/accounts/mumbai%2F${number}/deposits`, { amount: "0.01" });
    });
    await Promise.all(writers);
    await bank.client("deposit", busy, "77.77");
    await page.locator("[data-feed-rows] tr", { hasText: "77.77" }).waitFor();
    assert.equal(await bank.balance(busy), "97.77");
    assert.ok((await page.locator("[data-feed-rows] tr").count()) <= 300);
    const longest = await page.evaluate(() => globalThis.longest);
    assert.ok(longest < 1000, `the page was stuck for ${longest} ms`);
  });
});

describe("forms", () => {
  test("a double click is one operation", async () => {
    const page = await browser.page(`${bank.url}/accounts/${chandra}`);
    await live(page);
    const before = (await bank.entries(chandra)).length;
    await page.locator("#deposit-amount").fill("5.00");
    await page.locator("#deposit button").dblclick();
    await page.locator("#toasts", { hasText: "Deposited; the balance is" }).waitFor();
    // Whatever a second click would have sent is answered before this one, which is sent after it.
    await bank.client("deposit", chandra, "0.01");
    await page.locator("#statement", { hasText: "+0.01" }).waitFor();
    const made = await bank.entries(chandra);
    assert.deepEqual(made.slice(0, made.length - before).map((entry) => entry.amount), ["0.01", "5.00"]);
  });

  test("a form whose answer was lost is sent again under the same name and is one operation", async () => {
    const page = await browser.page(`${bank.url}/accounts/${chandra}`);
    await live(page);
    const names = [];
    await page.route("**/deposits", async (route) => {
      browser.broken.add(route.request().url());
      names.push(route.request().headers()["idempotency-key"]);
      const answer = await route.fetch();
      await (names.length === 1 ? route.abort() : route.fulfill({ response: answer }));
    });
    const before = (await bank.entries(chandra)).length;
    await page.locator("#deposit-amount").fill("6.00");
    await page.locator("#deposit button").click();
    await page.locator("#deposit [data-form-error]", { hasText: "goes by the same name" }).waitFor();
    await page.locator("#deposit button").click();
    await page.locator("#toasts", { hasText: "Deposited" }).waitFor();
    assert.equal(new Set(names).size, 1);
    assert.equal((await bank.entries(chandra)).length, before + 1);
  });

  test("a refusal appears at its field, in the words of the catalogue", async () => {
    const page = await browser.page(`${bank.url}/accounts/${chandra}`);
    await live(page);
    await page.locator("#deposit button").click();
    const error = page.locator("#deposit-amount-error");
    await error.waitFor();
    assert.match(await error.textContent(), /missing/);
    assert.equal(await page.locator("#deposit-amount").getAttribute("aria-invalid"), "true");
    await page.locator("#deposit-amount").fill("1.234");
    await page.locator("#deposit button").click();
    await page.locator("#deposit-amount-error", { hasText: "two decimals" }).waitFor();
    await page.getByRole("tab", { name: "Withdraw" }).click();
    await page.locator("#withdraw-amount").fill("999999");
    await page.locator("#withdraw button").click();
    await page.locator("#withdraw-amount-error", { hasText: "available" }).waitFor();
  });

  test("the keyboard alone is enough for a deposit", async () => {
    const page = await browser.page(`${bank.url}/accounts/${chandra}`);
    await live(page);
    let there = false;
    for (let step = 0; step < 60 && !there; step++) {
      await page.keyboard.press("Tab");
      there = await page.evaluate(() => document.activeElement.id === "deposit-amount");
    }
    assert.ok(there, "the field is reached with Tab");
    await page.keyboard.type("8.88");
    await page.keyboard.press("Enter");
    await page.locator("#toasts", { hasText: "Deposited" }).waitFor();
    await page.locator("#statement", { hasText: "+8.88" }).waitFor();
  });

  test("a transfer between branches ends committed on the page", async () => {
    const page = await browser.page(`${bank.url}/transfers`);
    await live(page);
    await page.locator("#transfer-source").fill(asha);
    await page.locator("#transfer-destination").fill(chandra);
    await page.locator("#transfer-amount").fill("17.25");
    await page.locator("#transfer button").click();
    const row = page.locator("#transfers tr", { hasText: "17.25" }).first();
    await row.filter({ hasText: "Committed" }).waitFor();
    await row.locator("th a").click();
    await page.locator("#transfer-state", { hasText: "Committed" }).waitFor();
    await page.getByText("Closes: both have it").waitFor();
  });

  test("an account is opened, frozen and opened again, and money is held and released", async () => {
    const page = await browser.page(`${bank.url}/accounts?branch=mumbai`);
    await live(page);
    await page.locator("#open-name").fill("Fresh");
    await page.locator("#open-deposit").fill("20.00");
    await page.locator("#open button").click();
    const row = page.locator("#accounts tr", { hasText: "Fresh" });
    await row.waitFor();
    await row.locator("a").click();
    await live(page);
    await page.locator("#state-frozen button").click();
    await page.locator("#account .badge", { hasText: "Frozen" }).waitFor();
    await page.locator("#state-open button").click();
    await page.locator("#account .badge", { hasText: "Open" }).waitFor();
    await page.getByRole("tab", { name: "Hold" }).click();
    await page.locator("#hold-amount").fill("4.00");
    await page.locator("#hold-expiresInSeconds").fill("600");
    await page.locator("#hold button").click();
    await page.locator("#holds li", { hasText: "4.00" }).waitFor();
    await page.locator("#holds button", { hasText: "Release" }).click();
    await page.locator("#holds li").waitFor({ state: "detached" });
  });
});

describe("safe", () => {
  test("a name with markup is text", async () => {
    for (const path of ["/", "/accounts", `/accounts/${nasty}`]) {
      const page = await browser.page(bank.url + path);
      await live(page);
      if (path !== "/") await page.getByText(NASTY).first().waitFor();
      assert.equal(await page.locator("main img").count(), 0);
      assert.ok(!(await page.title()).includes("harmed"));
      await page.close();
    }
  });

  test("the CSV has the columns of the older page, for all and for one account", async () => {
    const all = await (await fetch(`${bank.url}/operations.csv`)).text();
    const lines = all.trimEnd().split("\n");
    assert.equal(lines[0], "Time,Branch,Account,Action,Result");
    assert.match(lines[1], /^\d{4}-\d\d-\d\dT[\d:.]+Z,mumbai,mumbai\/1,OPEN 2500\.00,DONE$/);
    assert.ok(lines.some((line) => /,delhi,delhi\/1,WITHDRAW 99999\.00,INSUFFICIENT_FUNDS$/.test(line)));
    const one = await (await fetch(`${bank.url}/operations.csv?account=${encodeURIComponent(chandra)}`)).text();
    assert.ok(one.trimEnd().split("\n").slice(1).every((line) => line.includes(",delhi,")));
  });

  test("any stretch of the journal can be read", async () => {
    const page = await browser.page(`${bank.url}/operations`);
    await page.locator("#f-from").fill("2");
    await page.getByRole("button", { name: "Show" }).click();
    await page.getByText("Branch mumbai from sequence 2").waitFor();
    assert.equal(await page.locator("table.operations tbody tr td").first().textContent(), "2");
    await page.getByRole("link", { name: "Back to live" }).click();
    await live(page);
  });

  test("a scenario is played and its outputs are shown", async () => {
    const page = await browser.page(`${bank.url}/scenarios`);
    await page.getByRole("button", { name: "Play" }).click();
    await page.locator("#outcome-title").waitFor();
    await page.locator("#outcome summary", { hasText: "output.json" }).waitFor();
    assert.match(await page.locator("#outcome pre").first().textContent(), /"balance":290/);
    await page.locator("#scenario-text").fill("[{");
    await page.getByRole("button", { name: "Play" }).click();
    await page.locator("#outcome .notice.bad", { hasText: "line 1" }).waitFor();
  });

  test("a scenario with clocks has a diagram", async () => {
    const page = await browser.page(`${bank.url}/scenarios`);
    await page.locator("#scenario-text").fill(JSON.stringify([
      { id: 4, type: "customer", "customer-requests": [{ "customer-request-id": 71, interface: "deposit", money: 15 }, { "customer-request-id": 72, interface: "withdraw", money: 5 }] },
      { id: 4, type: "branch", balance: 60 },
      { id: 9, type: "branch", balance: 60 },
    ]));
    await page.getByRole("button", { name: "Play" }).click();
    const drawn = page.locator("#outcome img.diagram");
    await drawn.waitFor();
    assert.ok((await drawn.evaluate((image) => image.naturalWidth)) > 0);
  });
});

describe("at last", () => {
  test("a branch that is down is shown as down, with the age of what is shown", async () => {
    const page = await browser.page(`${bank.url}/accounts`);
    await live(page);
    await page.getByText("Chandra Iyer").waitFor();
    const overview = await browser.page(bank.url);
    await overview.locator(".branch-card", { hasText: "delhi" }).getByText("Healthy").waitFor();
    const own = await browser.page(`http://${bank.delhiAddress}/accounts/${chandra}`);
    await live(own);
    browser.gone.add(new URL(own.url()).origin);
    await bank.stopDelhi();
    await own.locator("#cut-off", { hasText: /This server does not answer.*\d+ seconds old/ }).waitFor();
    assert.equal(await own.locator("#account").evaluate((region) => getComputedStyle(region).filter), "grayscale(1)", "a page whose own server is gone is grey");
    assert.ok(await own.getByText("Chandra Iyer").first().isVisible(), "and still shows what was seen last");
    await own.close();
    await overview.locator(".branch-card", { hasText: "delhi" }).getByText("Down").waitFor();
    await overview.locator(".branch-card", { hasText: "delhi" }).getByText(/What is shown is \d+ s old/).waitFor();
    await page.locator("#accounts", { hasText: "Branch delhi does not answer." }).waitFor();
    assert.ok(await page.getByText("Chandra Iyer").isVisible(), "what was seen last is still shown");
  });

  test("no page asked anybody else for anything, and none had an error", () => {
    assert.deepEqual(browser.foreign, []);
    assert.deepEqual(browser.errors, []);
  });
});
