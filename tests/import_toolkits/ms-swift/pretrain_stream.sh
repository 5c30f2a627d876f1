swift pt \
    --model Qwen/Qwen2.5-1.5B --use_hf true --tuner_type full \
    --dataset hf::HuggingFaceFW/fineweb-edu:sample-10BT \
    --columns '{"text": "response"}' \
    --streaming true --shuffle_buffer_size 5000 --max_steps 20000 \
    --max_length 4096 --packing true --attn_impl flash_attn \
    --per_device_train_batch_size 4 --gradient_accumulation_steps 4 --learning_rate 1e-5 \
    --lr_scheduler_type constant_with_warmup --warmup_steps 100 \
    --save_steps 1000 --add_version false --create_checkpoint_symlink true
