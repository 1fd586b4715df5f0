// <crypto-pay>: a button that creates a CryptoCloud invoice and takes the buyer to its pay page.
// README.md, beside this file, tells how to use it. MIT License.

const PAY_ORIGIN = "https://pay.cryptocloud.plus";
const KEY_LIFETIME_MS = 30 * 60_000;
const REQUEST_TIMEOUT_MS = 35_000; // the service answers within 30 s
const RETRY_MS = 2000;
const MAX_RETRY_MS = 10_000; // a longer wait is told, not waited

const BODY = ["amount", "currency", "order-id", "email", "description"];

// For an error, the text of its code, else "unavailable" if trying again may help, else "shop".
const TEXTS = {
  en: {
    pay: "Pay with crypto",
    email: "E-mail (optional)",
    busy: "Preparing your payment…",
    again: "Try again",
    invoice_in_progress: "The payment is still being prepared. Please try again in a moment.",
    unavailable: "The payment service is not available right now. Nothing was charged. Please try again in a moment.",
    outcome_unknown: "The payment service gave no clear answer. Nothing was charged. Please try again.",
    network_error: "The payment service could not be reached. Please check your connection and try again.",
    shop: "The payment could not be started. Nothing was charged. Please contact the shop.",
  },
  pt: {
    pay: "Pagar com cripto",
    email: "E-mail (opcional)",
    busy: "Preparando o pagamento…",
    again: "Tentar novamente",
    invoice_in_progress: "O pagamento ainda está sendo preparado. Tente novamente em instantes.",
    unavailable: "O serviço de pagamento não está disponível agora. Nada foi cobrado. Tente novamente em instantes.",
    outcome_unknown: "O serviço de pagamento não deu uma resposta clara. Nada foi cobrado. Tente novamente.",
    network_error: "Não foi possível acessar o serviço de pagamento. Verifique sua conexão e tente novamente.",
    shop: "Não foi possível iniciar o pagamento. Nada foi cobrado. Entre em contato com a loja.",
  },
  es: {
    pay: "Pagar con cripto",
    email: "Correo electrónico (opcional)",
    busy: "Preparando el pago…",
    again: "Intentar de nuevo",
    invoice_in_progress: "El pago aún se está preparando. Inténtelo de nuevo en un momento.",
    unavailable: "El servicio de pago no está disponible ahora. No se cobró nada. Inténtelo de nuevo en un momento.",
    outcome_unknown: "El servicio de pago no dio una respuesta clara. No se cobró nada. Inténtelo de nuevo.",
    network_error: "No se pudo conectar con el servicio de pago. Compruebe su conexión e inténtelo de nuevo.",
    shop: "No se pudo iniciar el pago. No se cobró nada. Póngase en contacto con la tienda.",
  },
  ru: {
    pay: "Оплатить криптовалютой",
    email: "Эл. почта (необязательно)",
    busy: "Готовим оплату…",
    again: "Попробовать снова",
    invoice_in_progress: "Платёж ещё готовится. Попробуйте снова через минуту.",
    unavailable: "Платёжный сервис сейчас недоступен. Деньги не списаны. Попробуйте снова через минуту.",
    outcome_unknown: "Платёжный сервис не дал чёткого ответа. Деньги не списаны. Попробуйте снова.",
    network_error: "Не удалось связаться с платёжным сервисом. Проверьте подключение и попробуйте снова.",
    shop: "Не удалось начать оплату. Деньги не списаны. Обратитесь в магазин.",
  },
};

const STYLE = new CSSStyleSheet(); // which, unlike <style>, a strict CSP allows
STYLE.replaceSync(`
  :host { display: inline-block; max-width: 100%; }
  :host([hidden]), [hidden] { display: none; }
  label { display: block; margin-bottom: .75rem; }
  input, button { box-sizing: border-box; width: 100%; min-height: 2.75rem; padding: .5rem 1rem; font: inherit;
    border: 1px solid #767676; border-radius: var(--crypto-pay-radius, .5rem); }
  button { border-color: transparent; font-weight: 600; cursor: pointer;
    background: var(--crypto-pay-background, #1d4ed8); color: var(--crypto-pay-color, #fff); }
  :focus-visible { outline: 3px solid var(--crypto-pay-focus, #f59e0b); outline-offset: 2px; }
  [aria-busy=true] { cursor: progress; }
  [aria-busy=true] + p { position: absolute; clip-path: inset(50%); }
  p { margin: .5rem 0 0; color: var(--crypto-pay-error, inherit); }
  p:empty { margin: 0; }
  @media (prefers-reduced-motion: no-preference) { [aria-busy=true] { animation: pulse 1s infinite alternate; } }
  @keyframes pulse { to { opacity: .8; } }
`);

const create = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

const memory = {}; // where sessionStorage is refused

const withStorage = (use) => {
  try {
    return use(sessionStorage);
  } catch {
    return use(memory);
  }
};

const forget = (name) => {
  delete memory[name];
  withStorage((storage) => delete storage[name]);
};

const keyOf = (name) =>
  withStorage((storage) => {
    const [kept, end] = storage[name]?.split(" ") ?? [];
    if (end > Date.now()) return kept;
    const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
    storage[name] = `${key} ${Date.now() + KEY_LIFETIME_MS}`;
    return key;
  });

// So that no e-mail address is stored. If two purchases share it, the service refuses the key: see below.
const hash = (text) => [...text].reduce((sum, char) => (Math.imul(sum, 31) + char.codePointAt()) | 0, 0);

// Retry-After: seconds, a date, or null where there is none.
const retryMs = (header) =>
  Math.max(0, (isNaN(header) ? Date.parse(header) - Date.now() : header * 1000) || RETRY_MS);

const payLink = (text, origin) => {
  try {
    const url = new URL(text);
    if (url.origin === new URL(origin).origin && !url.username && !url.password) return url.href;
  } catch {} // no URL
};

// Resolves to {invoice}, or to an error {code}, with {retryMs} if trying again may help.
async function post(endpoint, key, body, run) {
  const timer = setTimeout(() => run.abort(), REQUEST_TIMEOUT_MS);
  let response, reply;
  try {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    response = await fetch(endpoint, { method: "POST", headers, body, signal: run.signal });
    reply = await response.json();
  } catch (error) {
    if (run.signal.aborted) return { code: "outcome_unknown", retryMs: Infinity };
    if (!(error instanceof SyntaxError)) {
      const hint = `${error.message}. If it is CORS: is ${location.origin} in AllowedOrigins?`;
      return { code: "network_error", hint, retryMs: RETRY_MS };
    }
  } finally {
    clearTimeout(timer);
  }
  const { ok, status } = response;
  if (ok) return reply?.pay_url ? { invoice: reply } : { code: "outcome_unknown", status, retryMs: RETRY_MS };
  // API Gateway's own errors have only a message.
  const { code = `http_${status}`, retryable = status === 429 || status >= 500 } = reply ?? {};
  const again = retryable || code === "idempotency_key_reused";
  return { code, status, problem: reply, retryMs: again ? retryMs(response.headers.get("Retry-After")) : undefined };
}

class CryptoPay extends HTMLElement {
  static observedAttributes = [...BODY, "endpoint", "pay-origin", "email-field"];

  #run; // AbortController of the running request
  #kept; // the name of the last key
  #state = "idle";
  #slotted = create("slot", {});
  #label = create("span", {});
  #button = create("button", { type: "button", part: "button" }, this.#slotted, this.#label);
  #message = create("p", { part: "message", role: "status" });
  #emailLabel = create("span", {});
  #email = create("input", { type: "email", part: "email", autocomplete: "email", maxlength: 254 });
  #field = create("label", { part: "label", hidden: "" }, this.#emailLabel, this.#email);

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open", delegatesFocus: true });
    root.adoptedStyleSheets = [STYLE];
    root.append(this.#field, this.#button, this.#message);
    this.#button.addEventListener("click", () => this.#pay());
    this.#email.addEventListener("keydown", (event) => event.key === "Enter" && this.#pay());
  }

  /** Makes the next click a new purchase. */
  reset() {
    forget(this.#kept);
    forget(this.#purchase().name);
    this.#stop();
  }

  connectedCallback() {
    addEventListener("pagehide", this.#stop); // who comes back finds a button that works
    this.#show(this.#state, this.#message.textContent);
  }

  disconnectedCallback() {
    queueMicrotask(() => {
      if (this.isConnected) return; // it was only moved
      removeEventListener("pagehide", this.#stop);
      this.#stop();
    });
  }

  attributeChangedCallback(name, before, now) {
    if (before === now) return;
    if (name === "email") this.#email.value = now ?? "";
    this.#field.hidden = !this.hasAttribute("email-field");
    this.#stop(); // what is running is another purchase
  }

  #purchase() {
    const fields = {};
    for (const name of BODY) {
      const typed = name === "email" && !this.#field.hidden;
      const value = typed ? this.#email.value : this.getAttribute(name);
      if (value) fields[name.replace("-", "_")] = value;
    }
    const body = JSON.stringify(fields);
    return { body, name: `crypto-pay:${hash(this.getAttribute("endpoint") + body)}` };
  }

  async #pay() {
    if (this.#run || (!this.#field.hidden && !this.#email.reportValidity())) return;
    const run = (this.#run = new AbortController());
    this.#show("busy");
    const tab = this.hasAttribute("new-tab") && open("", "_blank"); // later it would be blocked
    if (tab) {
      tab.opener = null;
      tab.document.title = this.#text("busy");
    }
    const outcome = await this.#request(run);
    if (this.#run !== run) {
      // The purchase was changed or left meanwhile.
    } else if (!outcome.url) {
      this.#fail(outcome);
    } else if (!this.#tell("created", outcome.invoice)) {
      this.#stop();
    } else if (tab && !tab.closed) {
      this.#stop();
      return tab.location.replace(outcome.url);
    } else {
      location.assign(outcome.url);
      setTimeout(() => this.#run === run && this.#stop(), 10_000); // the browser was stopped
    }
    if (tab) tab.close();
  }

  async #request(run) {
    for (const name of ["endpoint", "amount"]) {
      if (!this.getAttribute(name)) return { code: "attribute_missing", hint: name };
    }
    const payOrigin = this.getAttribute("pay-origin") ?? PAY_ORIGIN;
    const endpoint = this.getAttribute("endpoint");
    const { body, name } = this.#purchase();
    if (this.#kept !== name) forget(this.#kept);
    this.#kept = name;
    for (let attempt = 1; ; attempt++) {
      const outcome = await post(endpoint, keyOf(name), body, run);
      if (outcome.invoice) {
        const url = payLink(outcome.invoice.pay_url, payOrigin);
        const hint = `pay_url is not of ${payOrigin}. Is pay-origin the stack's PayUrl?`;
        return url ? { ...outcome, url } : { code: "foreign_pay_url", hint };
      }
      if (outcome.code === "idempotency_key_reused") forget(name);
      if (attempt > 1 || !(outcome.retryMs <= MAX_RETRY_MS)) return outcome;
      await new Promise((resolve) => setTimeout(resolve, outcome.retryMs));
      if (run.signal.aborted) return outcome;
    }
  }

  #fail({ code, status, problem, hint, retryMs }) {
    const retryable = retryMs !== undefined;
    const message = this.#text(code) ?? this.#text(retryable ? "unavailable" : "shop");
    console.error(`<crypto-pay>: ${code}.`, hint ?? problem);
    this.#stop();
    if (this.#tell("error", { code, status, retryable, message, problem })) this.#show("failed", message);
  }

  // False if the site's own code takes over.
  #tell(what, detail) {
    return this.dispatchEvent(
      new CustomEvent(`crypto-pay:${what}`, { detail, bubbles: true, composed: true, cancelable: true }),
    );
  }

  #stop = () => {
    this.#run?.abort();
    this.#run = undefined;
    this.#show("idle");
  };

  #show(state, message = "") {
    const busy = state === "busy";
    this.#state = state;
    this.#slotted.textContent = this.#text("pay");
    this.#slotted.hidden = state !== "idle";
    this.#label.textContent = busy ? this.#text("busy") : state === "failed" ? this.#text("again") : "";
    this.#message.textContent = busy ? this.#text("busy") : message;
    this.#emailLabel.textContent = this.#text("email");
    this.#email.readOnly = busy;
    this.#button.setAttribute("aria-busy", busy);
    this.#button.setAttribute("aria-disabled", busy); // disabled would lose the focus
  }

  #text(name) {
    const { lang } = this.closest("[lang]") ?? document.documentElement;
    return this.getAttribute(`text-${name}`) ?? (TEXTS[lang.split("-")[0].toLowerCase()] ?? TEXTS.en)[name];
  }
}

customElements.define("crypto-pay", CryptoPay);
