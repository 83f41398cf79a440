// killfeed for web games and launchers: events to the collection API, however bad the network.

export { Client, type Stats } from "./client.js";
export type { Event } from "./event.js";
export type { Reason } from "./losses.js";
export type { Delivery, Options } from "./options.js";
export { ambient, type PageEvents, type Platform } from "./platform.js";
export { BrowserStore, IndexedDbStore, LocalStore, MemoryStore, type Change, type Store } from "./store.js";
