/*
 * Opens the connection while the modules are loaded, and joins the room in the address. connection.js takes both over.
 * The conditions are those of the modules: who has no name yet is asked first, and other names of rooms are checked there.
 */
"use strict";
{
  const room = /^#([\w-][\w.-]{0,63})(?:\/\d{1,15})?$/.exec(window.location.hash)?.[1];
  let name = null;
  try {
    name = window.localStorage.getItem("chatkit.name");
  } catch {
    // without storage, the page asks for a name
  }
  if (room !== undefined && name !== null) open(room, name);
  // The first format of times reads the data of the language, in the time of 20 messages; the browser keeps them.
  setTimeout(() => new Intl.DateTimeFormat(undefined, { timeStyle: "short" }));

  /**
   * @param {string} room
   * @param {string} name
   */
  function open(room, name) {
    const url = new URL("ws", window.location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.search = name && `?name=${encodeURIComponent(name)}`;
    const command = { op: "join", room, history: 60 };
    const socket = new WebSocket(url, "chatkit.v1");
    /** @type {import("./connection.js").Early} */
    const early = { socket, command: JSON.stringify(command), ref: 0, frames: [] };
    socket.onopen = () => socket.send(JSON.stringify({ ...command, ref: early.ref }));
    socket.onmessage = ({ data }) => {
      if (early.frames.push(data) > 1_000) socket.close(); // the modules do not arrive
    };
    Object.assign(window, { chatkitEarly: early });
  }
}
