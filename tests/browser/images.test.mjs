// The pictures of the README, taken when BANK_IMAGES is set: BANK_IMAGES=1 npm test
import { after, before, test } from "node:test";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Bank, Browser, images, live } from "./support.mjs";

const wanted = Boolean(process.env.BANK_IMAGES);
let bank;
let browser;

before(async () => {
  if (!wanted) return;
  bank = await Bank.open();
  browser = await Browser.open();
  await mkdir(images, { recursive: true });
});

after(async () => {
  await browser?.close();
  await bank?.close();
});

test("the pictures of the README", { skip: !wanted }, async () => {
  const asha = await bank.open("mumbai", { name: "Asha Rao", deposit: "2500.00", overdraftLimit: "500.00" });
  const workshop = await bank.open("mumbai", { name: "Workshop Singh & Daughters", deposit: "184250.75" });
  const chandra = await bank.open("delhi", { name: "Chandra Iyer", deposit: "910.10" });
  const days = [["1250.00", "80.25"], ["33.10", "1200"], ["7.77", "15.00"], ["2200", "99.99"], ["1", "3400.5"], ["640", "12"]];
  for (const [paidIn, paidOut] of days) {
    await bank.client("deposit", asha, paidIn);
    await bank.client("withdraw", asha, paidOut);
  }
  await bank.client("transfer", workshop, asha, "120");
  const { transfer } = await bank.client("transfer", asha, chandra, "75.50");
  await bank.http("POST", `/v1/accounts/${encodeURIComponent(asha)}/holds`, { amount: "60.00", expiresInSeconds: 600 });
  const pages = {
    overview: ["/", {}],
    account: [`/accounts/${asha}`, {}],
    transfer: [`/transfers/${transfer.replace(":", "/")}`, { scheme: "dark" }],
  };
  for (const [name, [path, options]] of Object.entries(pages)) {
    const page = await browser.page(bank.url + path, { width: 1280, height: 800, ...options });
    await live(page);
    await page.locator("main .card").first().waitFor();
    if (name === "overview") await busy(workshop, page.locator(".sparkline").first().locator("rect").nth(12));
    await page.screenshot({ path: join(images, `${name}.png`) });
    await page.close();
  }
});

/** Pays in until something is seen. */
async function busy(account, sight) {
  let seen = false;
  const write = async () => {
    while (!seen) await bank.http("POST", `/v1/accounts/${encodeURIComponent(account)}/deposits`, { amount: "0.25" });
  };
  const writers = [write(), write()];
  await sight.waitFor();
  seen = true;
  await Promise.all(writers);
}
