import "@shared/styles/base.css";
import { createApp } from "vue";
import App from "./App.vue";
import { keepShell } from "@shared/pwa";

createApp(App).mount("#app");
keepShell("rider");
