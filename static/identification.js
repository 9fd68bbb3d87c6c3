/**
 * Finds out who the user is: asks for a token where the server needs one, then for a name if it is free to choose, and
 * redeems invites. Connects the account with its dialogs.
 */

import { Account, roomOf } from "./account.js";
import { explain, explainTaken, sentenceOf } from "./explanations.js";
import { Refused } from "./protocol.js";
import { checkSender, SENDER_RULE } from "./validation.js";
import { AccountDialog, InviteDialog, LinkDialog, NameDialog, SecretDialog, TokenDialog } from "./views/dialogs.js";

const INVITE = "#invite=";
const TOKEN = "#token=";
const ANONYMOUS = "anonymous";

export class Identification {
  /** @type {import("./connection.js").ConnectionState | null} the refusal that was handled last */
  #handled = null;
  #invite = "";

  /**
   * @param {object} page
   * @param {import("./storage.js").Store} page.store
   * @param {import("./connection.js").Connection} page.connection
   * @param {(room: string) => void} page.openRoom
   * @param {() => void} page.onChange
   */
  constructor(page) {
    this.page = page;
    this.account = new Account(() => this.chosenName);
    this.names = new NameDialog({
      onName: (name) => this.#onName(name),
      onSignIn: () => this.askToken(""),
      onSignOut: () => this.#signOut(),
    });
    this.tokens = new TokenDialog({ onToken: (token) => this.#signIn(token), onGuest: () => this.#continueAsGuest() });
    this.dialog = new AccountDialog({ onSignOut: () => this.#signOut() });
    this.invites = new InviteDialog({
      onName: (name) => this.#redeem(name),
      onCancel: () => this.page.connection.isOnline || void this.#identify(),
      onSignIn: () => this.askToken(""),
    });
    this.secrets = new SecretDialog();
    this.links = new LinkDialog({
      onAccept: (token) => this.#replace(token),
      onCancel: () => this.page.connection.isOnline || this.#connectOrAskName(),
    });
  }

  /** The name for a user without a token. */
  get chosenName() {
    return this.page.store.get("name") ?? ANONYMOUS;
  }

  get isSignedIn() {
    return this.account.usesToken;
  }

  start() {
    hideToken();
    if (this.takeInvite() || this.takeToken()) return;
    if (this.page.store.get("name") !== null) this.page.connection.open();
    else void this.#identify();
  }

  /** Handle the invite in the address, if there is one: remove it from the address and ask for a name. */
  takeInvite() {
    const { hash, pathname, search } = window.location;
    if (!hash.startsWith(INVITE)) return false;
    window.history.replaceState(null, "", pathname + search);
    this.#invite = decoded(hash.slice(INVITE.length));
    this.invites.ask(this.page.store.get("name") ?? "");
    return true;
  }

  /**
   * Handle the token of a link in the address, if there is one: remove it from the address and sign in. The server passes
   * it on if the user may be signed in as somebody else, who is replaced only if the user agrees.
   */
  takeToken() {
    const { hash, pathname, search } = window.location;
    if (!hash.startsWith(TOKEN)) return false;
    window.history.replaceState(null, "", pathname + search);
    void this.#takeToken(decoded(hash.slice(TOKEN.length)));
    return true;
  }

  /** @param {string} token */
  async #takeToken(token) {
    const refusal = await this.#load();
    const { me } = this.account;
    if (refusal || !me || !this.isSignedIn) {
      const problem = await this.#signIn(token);
      if (problem) this.askToken(problem);
      return;
    }
    let other;
    try {
      other = await this.account.identify(token);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return this.#connectOrAskName(); // the link is of no use, and the user is signed in
    }
    if (other.token === me.token) this.#connectOrAskName();
    else this.links.ask(me.name, other.name, token);
  }

  /**
   * Sign in as somebody else; return the problem, or an empty string.
   * @param {string} token
   */
  async #replace(token) {
    try {
      await this.account.signIn(token);
    } catch (error) {
      if (error instanceof Refused) return explain(error);
      throw error;
    }
    this.page.store.close();
    window.location.reload(); // so that nothing of the former user stays on the screen
    return "";
  }

  /** Show who the user is, and let the user change what may be changed. */
  show() {
    const { me } = this.account;
    if (me?.verified) this.dialog.show(me);
    else this.names.ask(this.chosenName, { canSignIn: !me?.open && !this.isSignedIn, canSignOut: this.isSignedIn });
  }

  /** @param {string} reason */
  askToken(reason) {
    this.tokens.ask(reason, this.page.store.get("signed-in") !== null);
  }

  /**
   * Change the name; return the problem, or an empty string.
   * @param {string} text
   */
  rename(text) {
    const name = checkSender(text);
    if (this.account.me?.verified) return "Your name belongs to your token. Sign out to use another one.";
    if (!name) return SENDER_RULE;
    this.#onName(name);
    return "";
  }

  /** The server refused the name as invalid. */
  onBadName() {
    this.names.ask(this.chosenName);
  }

  /**
   * Read who the user is if the server greeted somebody else than before.
   * @param {{name: string, verified?: boolean}} welcome
   */
  onWelcome({ name, verified = false }) {
    const { me } = this.account;
    if (me?.name !== name || (me.verified ?? false) !== verified) void this.#load();
  }

  /**
   * Find out why the server refused the connection, once for each refusal.
   * @param {import("./connection.js").ConnectionState} state
   */
  onState(state) {
    if (state.kind !== "stopped" || (state.code !== 4401 && state.code !== 4403) || state === this.#handled) return;
    this.#handled = state;
    void this.#load().then((error) => {
      if (error) this.#onRefused(error);
      else if (state.code === 4401) this.askToken(sentenceOf(state.reason));
    });
  }

  /** Read who the user is; return the error if the server refuses to say. */
  async #load() {
    try {
      await this.account.load();
    } catch (error) {
      if (error instanceof Refused) return error;
      throw error;
    }
    if (this.isSignedIn) this.page.store.set("signed-in", "");
    this.page.onChange();
    return null;
  }

  async #identify() {
    const error = await this.#load();
    if (error) this.#onRefused(error);
    else this.#connectOrAskName();
  }

  #connectOrAskName() {
    if (this.account.me?.verified || this.page.store.get("name") !== null) this.page.connection.open();
    else this.names.ask("", { canSignIn: this.account.me?.open !== true && !this.isSignedIn });
  }

  /** @param {Refused} error */
  #onRefused(error) {
    switch (error.code) {
      case "unauthorized":
        this.#stop(4401, error.message); // what remains to be seen if the user gives no token
        return this.askToken(sentenceOf(error.message));
      case "name-taken":
        return this.names.ask(this.chosenName, { canSignIn: true, problem: explain(error, this.chosenName) });
      case "banned":
      case "forbidden":
        return this.#stop(4403, explain(error));
      default:
        return this.page.connection.open(); // which shows why the server cannot be used, and tries again
    }
  }

  /**
   * Show a refusal without asking the server for its reason again.
   * @param {number} code
   * @param {string} reason
   */
  #stop(code, reason) {
    const { connection } = this.page;
    connection.stop(code, reason);
    this.#handled = connection.state;
  }

  /** @param {string} name */
  #onName(name) {
    const isNew = name !== this.page.store.get("name");
    this.page.store.set("name", name);
    if (isNew || !this.page.connection.isOnline) this.page.connection.open();
  }

  /**
   * Sign in; return the problem, or an empty string.
   * @param {string} token
   */
  async #signIn(token) {
    try {
      await this.account.signIn(token);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.code === "unauthorized") return `${sentenceOf(error.message)} Check that you copied all of it.`;
      return explain(error);
    }
    this.page.store.set("signed-in", "");
    if (this.invites.isOpen) this.invites.close();
    this.#connectOrAskName();
    return "";
  }

  async #continueAsGuest() {
    await this.account.signOut();
    this.page.store.delete("signed-in");
    await this.#identify();
  }

  /** Sign out; return the problem, or an empty string. */
  async #signOut() {
    try {
      await this.account.signOut();
    } catch (error) {
      if (error instanceof Refused) return explain(error);
      throw error;
    }
    this.page.store.close();
    window.location.hash = "";
    window.location.reload(); // so that no message stays on the screen
    return "";
  }

  /**
   * Redeem the invite under a name; return the problem, or an empty string.
   * @param {string} name
   */
  async #redeem(name) {
    let made;
    try {
      made = await this.account.redeem(this.#invite, name);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.code === "name-taken") return `${explainTaken(name)} Choose another name.`;
      if (error.code !== "unauthorized") return explain(error);
      return "This invite is not valid here. Check that you copied the whole link, or ask for a new one.";
    }
    this.#invite = "";
    this.page.store.set("signed-in", "");
    const room = roomOf(made.grants);
    if (room !== undefined) this.page.openRoom(room);
    this.page.connection.open();
    this.secrets.show(made.name, made.secret);
    return "";
  }
}

/** Remove the token from the address, because the cookie is set now: it should not be in bookmarks or on screens. */
function hideToken() {
  const url = new URL(window.location.href);
  if (!url.searchParams.has("token")) return;
  url.searchParams.delete("token");
  window.history.replaceState(null, "", url);
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // an invalid escape: the server refuses it as a wrong invite
  }
}
