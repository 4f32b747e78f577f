"""The organization's collection "BILMA", with all repositories of the family."""

from collections.abc import Sequence

from huggingface_hub import HfApi
from huggingface_hub.hf_api import Collection

from training.common.errors import InputError
from training.publishing.hub import HUB_ERRORS, Outcome, Upload, in_one_line, settle

TITLE = "BILMA"
NAME = f"collection {TITLE}"  # in tables and messages


def collect(api: HfApi, org: str, uploads: Sequence[Upload], private: bool) -> Outcome:
    """Add the repositories to the collection, and create it if necessary; nothing is removed from it.

    Raises:
        InputError: if the Hub refuses or does not answer.
    """
    collection = find_collection(api, org)
    if collection is None:
        settle(
            lambda: api.create_collection(TITLE, namespace=org, private=private, exists_ok=True),
            lambda: find_collection(api, org) is not None,
            f"{NAME} was not created",
            api,
        )
        collection = find_collection(api, org)
    if collection is None:
        raise InputError(f"{NAME} was created but cannot be read: run again")
    missing = [upload for upload in uploads if not holds(collection, upload)]
    for upload in missing:
        settle(
            lambda upload=upload: api.add_collection_item(  # type: ignore[misc]
                collection.slug, upload.repo_id, upload.kind, exists_ok=True
            ),
            lambda upload=upload: holds(find_collection(api, org), upload),  # type: ignore[misc]
            f"{NAME}: {upload.repo_id} was not added",
            api,
        )
    return Outcome(NAME, None, f"{len(missing)} added" if missing else "nothing new")


def holds(collection: Collection | None, upload: Upload) -> bool:
    """Whether the collection contains the repository; a model and a Space may have the same name."""
    items = collection.items if collection else []
    return (upload.repo_id, upload.kind) in ((item.item_id, item.item_type) for item in items)


def find_collection(api: HfApi, org: str) -> Collection | None:
    """Return the collection with all of its items, of which a list of collections contains only some."""
    try:
        for collection in api.list_collections(owner=org):
            if collection.title == TITLE:
                return api.get_collection(collection.slug)
        return None
    except HUB_ERRORS as error:
        raise InputError(f"{NAME}: cannot be read: {in_one_line(error, api)}: run again") from error
