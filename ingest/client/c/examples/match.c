// A match in C: what a game calls, in the order in which it does. Usage: match URL STORE-DIRECTORY
#include "killfeed.h"

#include <stdio.h>
#include <string.h>

// Ends the program with a message if something is not as it should be.
#define EXPECT(what, expected)                                                       \
    do {                                                                             \
        int32_t got = (what);                                                        \
        if (got != (expected)) {                                                     \
            fprintf(stderr, "%s:%d: %s is %d\n", __FILE__, __LINE__, #what, got);    \
            return 1;                                                                \
        }                                                                            \
    } while (0)

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: %s URL STORE-DIRECTORY\n", arguments[0]);
        return 2;
    }

    KfConfig *config = kf_config_new(arguments[1], "/example/match.c");
    EXPECT(kf_config_set_text(config, "store", arguments[2]), KF_OK);
    EXPECT(kf_config_set_number(config, "batch_ms", 1000), KF_OK);
    EXPECT(kf_config_set_number(config, "loss_report_ms", 0), KF_OK);
    EXPECT(kf_config_set_delivery(config, "match.end", 1), KF_OK);
    // What a caller gets wrong is said, and nothing else happens.
    EXPECT(kf_config_set_number(config, "no_such_setting", 1), KF_INVALID);
    EXPECT(kf_config_set_text(NULL, "key", "k"), KF_INVALID);

    KfClient *client = NULL;
    char message[200] = "";
    if (kf_start(config, &client, message, sizeof message) != KF_OK) {
        fprintf(stderr, "not started: %s\n", message);
        return 1;
    }
    // A second client can't have the same store.
    KfClient *second = NULL;
    EXPECT(kf_start(config, &second, message, sizeof message), KF_NOT_STARTED);
    EXPECT(strncmp(message, "store: ", 7), 0);
    EXPECT(second == NULL, 1);
    kf_config_free(config);

    char session[33] = "";
    EXPECT(kf_start_session(client, "player-1", session, sizeof session), KF_OK);
    EXPECT((int32_t)strlen(session), 32);
    EXPECT(kf_set_attribute(client, "region", "euw"), KF_OK);
    EXPECT(kf_set_data(client, "build", "\"1.2.3\""), KF_OK);
    EXPECT(kf_set_data(client, "build", "no JSON"), KF_INVALID);

    KfAttribute of[] = {{"playerid", "player-1"}, {"gameid", "game-1"}};
    for (int kill = 0; kill < 100; kill++) {
        char json[64];
        snprintf(json, sizeof json, "{\"victim\": \"player-%d\", \"kill\": %d}", kill % 9, kill);
        EXPECT(kf_send(client, "match.kill", of, 2, json), KF_OK);
    }
    EXPECT(kf_send(client, "match.end", of, 2, "{\"won\": true}"), KF_OK);
    EXPECT(kf_send(client, "match.end", of, 2, "{\"won\": "), KF_LOST_REFUSED);
    EXPECT(kf_send(client, "match.end", NULL, 2, NULL), KF_INVALID);
    EXPECT(kf_send(client, NULL, of, 2, NULL), KF_INVALID);
    EXPECT(kf_send(NULL, "match.end", of, 2, NULL), KF_INVALID);

    EXPECT(kf_flush(client, 60000), KF_OK);
    EXPECT(kf_close(client, 60000), KF_OK);
    EXPECT(kf_send(client, "match.kill", of, 2, NULL), KF_LOST_CLOSED);

    KfStats stats;
    EXPECT(kf_stats(client, &stats), KF_OK);
    printf("sent %llu, delivered %llu, pending %llu\n", (unsigned long long)stats.sent,
           (unsigned long long)stats.delivered, (unsigned long long)stats.pending);
    // The session's start and end are events, too; two were lost, and counted.
    EXPECT(stats.sent == 105 && stats.delivered == 103 && stats.pending == 0, 1);
    EXPECT(stats.lost_refused == 1 && stats.lost_closed == 1, 1);
    kf_free(client);
    kf_free(NULL);
    return 0;
}
